"""Estimate of the patient's state, as a controller gets it at every sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Absorbed:
    """Heat that constraint points absorb beyond what the model says.

    Attributes
    ----------
    rise : (n_c, n_foci) rise beyond the model's for each watt that was given lately [K/W].
    lately : (n_foci,) power that was given lately, fading from sample to sample [W].
    left : fraction of `lately` that remains after a sample without power.
    """

    rise: np.ndarray
    lately: np.ndarray
    left: float


@dataclass(frozen=True)
class Estimate:
    """Estimate of the patient's state at one sampling time.

    n_c constraint points and n_v target voxels, in the order of `model.outputs`; r states of the
    reduced model. In a treatment no attribute is None, and nobody can write to the arrays.

    Attributes
    ----------
    time : since the start of the treatment [s].
    state : (r,) state of the reduced model; rises above the baseline are C @ state [K].
    constraint_temperature, target_temperature : (n_c,), (n_v,) temperatures [degC]; beside the
        state they hold the estimated errors of the model.
    target_dose : (n_v,) thermal dose so far of the target voxels [CEM43 min].
    constraint_deviation : (n_c,) standard deviation of `constraint_temperature` [K]; it grows
        while images are missing, and with the heating where nothing is measured.
    constraint_dose : (n_c,) thermal dose so far of the constraint points [CEM43 min].
    gain : (n_foci,) factor by which each focus heats more than the model says.
    constraint_gain : (n_c,) further factor by which each constraint point is heated more.
    absorbed : what the constraint points absorb beyond both, see `Absorbed`.
    valid : whether the image of this time was used.
    """

    time: float
    state: np.ndarray
    constraint_temperature: np.ndarray
    target_temperature: np.ndarray
    target_dose: np.ndarray
    constraint_deviation: np.ndarray
    constraint_dose: np.ndarray | None = None
    gain: np.ndarray | None = None
    constraint_gain: np.ndarray | float = 1.0
    absorbed: Absorbed | None = None
    valid: bool = True

"""What an image shows beside what the filter expected of it, for the checks of the supervisor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Innovation:
    """Difference between an image and what the filter expected, before it was taken in.

    All (n_m,) parts are of the time at which the image was acquired; NaN where nothing was seen.

    Attributes
    ----------
    value : (n_m,) measured temperature less the expected one [K].
    rise : (n_m,) measured temperature above the baseline [K].
    heat : (n_m,) part of the expected change that the last sample's power brings, by the model and
        the gains learned so far [K].
    spread : (n_m,) rest of the expected change: heat of before that spreads [K].
    power : (n_foci,) power of that sample [W].
    gain : (n_foci,) gains of the foci before this image.
    gain_deviation : standard deviation of their mean, weighted by the power.
    taken : whether the image was taken in.
    """

    value: np.ndarray
    rise: np.ndarray
    heat: np.ndarray
    spread: np.ndarray
    power: np.ndarray
    gain: np.ndarray
    gain_deviation: float
    taken: bool

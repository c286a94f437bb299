"""The configuration of a treatment: read once, checked, in SI units and without unit suffixes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hifuflow.errors import InputError


def number(section: dict, name: str, key: str, default=None, low=0.0, high=math.inf) -> float:
    """`section[key]` as a float in [low, high]; `default` where it is missing.

    Raises
    ------
    InputError
        if it is missing without a default, no number, or out of range.
    """
    value = section.get(key, default)
    allowed = f"a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("not a number", key=f"{name}.{key}", value=value, allowed=allowed)
    if not low <= value <= high:
        raise InputError("out of range", key=f"{name}.{key}", value=value, allowed=allowed)
    return float(value)


@dataclass(frozen=True)
class Prescription:
    """What is to be reached, and with what.

    Attributes
    ----------
    dose : thermal dose that counts as treated [CEM43 min].
    coverage : fraction of the target's volume that must receive it.
    max_power : acoustic power of the array [W].
    max_time : the treatment ends here at the latest [s].
    """

    dose: float
    coverage: float
    max_power: float
    max_time: float

    @classmethod
    def read(cls, section: dict) -> Prescription:
        name = "prescription"
        return cls(number(section, name, "dose_cem43_min", 240.0, 1e-6),
                   number(section, name, "coverage", 0.99, 1e-6, 1.0),
                   number(section, name, "max_power_w", low=1e-6),
                   number(section, name, "max_time_s", 7200.0, 1e-3))


@dataclass(frozen=True)
class ThermometrySettings:
    """Simulated MR thermometry: interval [s], noise (standard deviation) [K], seed, max_gap [s].

    `max_gap` is how long the treatment may go on without a valid image.
    """

    interval: float
    noise: float
    seed: int
    max_gap: float

    @classmethod
    def read(cls, section: dict) -> ThermometrySettings:
        name = "thermometry"
        return cls(number(section, name, "interval_s", 2.0, 1e-3),
                   number(section, name, "noise_c", 0.5, 0.0, 20.0),
                   int(number(section, name, "seed", 1)),
                   number(section, name, "max_gap_s", 10.0))


@dataclass(frozen=True)
class EstimatorSettings:
    """Noise model of the Kalman filter, see `estimator.KalmanFilter`.

    Attributes
    ----------
    input_error : standard deviation of the heating, as a fraction of full power at each focus.
    model_noise : temperature error that the model gains in one sample, rms over the outputs [K].
    measurement_floor : error of a measurement beside its noise (interpolation, reduction) [K].
    """

    input_error: float
    model_noise: float
    measurement_floor: float

    @classmethod
    def read(cls, section: dict) -> EstimatorSettings:
        name = "estimator"
        return cls(number(section, name, "input_error_fraction", 0.05, 0.0, 10.0),
                   number(section, name, "model_noise_k", 0.02, 1e-6, 10.0),
                   number(section, name, "measurement_floor_k", 0.1, 1e-3, 10.0))

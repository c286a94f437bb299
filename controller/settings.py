"""The configuration of a treatment, in SI units and without unit suffixes."""

from __future__ import annotations

from dataclasses import dataclass


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
        return cls(float(section["dose_cem43_min"]), float(section["coverage"]),
                   float(section["max_power_w"]), float(section["max_time_s"]))


@dataclass(frozen=True)
class ThermometrySettings:
    """Simulated MR thermometry: interval [s], noise (standard deviation) [K], seed, max_gap [s].

    `max_gap` is how long the treatment may go on without a valid image. Simulated thermometry
    never loses one; the limit is there for sources of images that do.
    """

    interval: float
    noise: float
    seed: int
    max_gap: float

    @classmethod
    def read(cls, section: dict) -> ThermometrySettings:
        return cls(float(section["interval_s"]), float(section["noise_c"]), section["seed"],
                   float(section["max_gap_s"]))


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
        return cls(float(section["input_error_fraction"]), float(section["model_noise_k"]),
                   float(section["measurement_floor_k"]))

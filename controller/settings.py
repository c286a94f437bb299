"""The configuration of a treatment, in SI units and without unit suffixes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dose import SECONDS_PER_MINUTE


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
    """Simulated MR thermometry, see `patient.thermometry.Thermometry`.

    Attributes
    ----------
    interval : time between images [s].  latency : how late an image is [s].
    noise : standard deviation of a voxel [K].  seed : of noise, losses and drift.
    voxel : (3,) edges of a voxel [m].
    drift : apparent temperature per time [K/s].  drift_correction : whether its mean is removed.
    drift_variation : by which fraction it differs at the edge of the field of view.
    loss_probability : of an image.  lost : (start, end) of times without images [s].
    artefact_probability : that an image is useless.  artefact : its standard deviation [K].
    no_signal_regions : names of regions that cannot be measured.
    """

    interval: float
    latency: float
    noise: float
    seed: int
    voxel: np.ndarray
    drift: float
    drift_correction: bool
    drift_variation: float
    loss_probability: float
    lost: list
    artefact_probability: float
    artefact: float
    no_signal_regions: list

    @classmethod
    def read(cls, section: dict) -> ThermometrySettings:
        return cls(float(section["interval_s"]), float(section["latency_s"]),
                   float(section["noise_c"]), section["seed"],
                   np.array(section["voxel_mm"]) * 1e-3,
                   section["drift_c_per_min"] / SECONDS_PER_MINUTE, section["drift_correction"],
                   float(section["drift_variation"]), float(section["loss_probability"]),
                   section["lost_s"], float(section["artefact_probability"]),
                   float(section["artefact_c"]), section["no_signal_regions"])


@dataclass(frozen=True)
class EstimatorSettings:
    """Noise model of the Kalman filter, see `estimation.kalman.KalmanFilter`.

    Attributes
    ----------
    input_error : standard deviation of the heating, as a fraction of full power at each focus.
    model_noise : temperature error that the model gains in one sample, rms over the outputs [K].
    measurement_floor : error of a measurement beside its noise (interpolation, reduction) [K].
    gain_error, focus_gain_error : standard deviation of the foci's gains before the treatment,
        common to all and of each by itself.  gain_walk : what is added in one sample.
    heating_error, absorption_error : standard deviations of the fraction by which a constraint
        point heats more than the model says, and of that by which a tissue beside the target
        absorbs more, before they are measured.  heating_error_walk : what is added in one sample.
    target_error_smoothing : weight of a new residual in the model's error in the target.
    max_innovation : median innovation above which an image is not believed [K].
    """

    input_error: float
    model_noise: float
    measurement_floor: float
    gain_error: float
    focus_gain_error: float
    gain_walk: float
    heating_error: float
    absorption_error: float
    heating_error_walk: float
    target_error_smoothing: float
    max_innovation: float

    @classmethod
    def read(cls, section: dict) -> EstimatorSettings:
        return cls(float(section["input_error_fraction"]), float(section["model_noise_k"]),
                   float(section["measurement_floor_k"]), float(section["gain_error"]),
                   float(section["focus_gain_error"]), float(section["gain_walk"]),
                   float(section["heating_error"]), float(section["absorption_error"]),
                   float(section["heating_error_walk"]),
                   float(section["target_error_smoothing"]),
                   float(section["max_innovation_k"]))


@dataclass(frozen=True)
class SafetySettings:
    """When power is held off, see `safety`: max_gap, abort_after [s], max_target [degC],
    hard_excess above a limit [K]."""

    max_gap: float
    abort_after: float
    max_target: float
    hard_excess: float

    @classmethod
    def read(cls, section: dict) -> SafetySettings:
        return cls(float(section["max_gap_s"]), float(section["abort_after_s"]),
                   float(section["max_target_c"]), float(section["hard_excess_k"]))

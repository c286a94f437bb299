"""Settings of a treatment: the sections of its configuration, read once, in SI units."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .dose import SECONDS_PER_MINUTE


@dataclass(frozen=True)
class ThermometrySettings:
    """Settings of the simulated MR thermometry, see `patient.thermometry.Thermometry`.

    Attributes
    ----------
    interval : time between images [s].  latency : how late an image is [s].
    noise : standard deviation of a voxel [K].  seed : of noise, losses and drift.
    voxel : edges of a voxel [m].
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
    voxel: tuple[float, float, float]
    drift: float
    drift_correction: bool
    drift_variation: float
    loss_probability: float
    lost: tuple[tuple[float, float], ...]
    artefact_probability: float
    artefact: float
    no_signal_regions: tuple[str, ...]

    @classmethod
    def read(cls, section: dict) -> ThermometrySettings:
        return cls(float(section["interval_s"]), float(section["latency_s"]),
                   float(section["noise_c"]), section["seed"],
                   tuple(1e-3 * edge for edge in section["voxel_mm"]),
                   section["drift_c_per_min"] / SECONDS_PER_MINUTE, section["drift_correction"],
                   float(section["drift_variation"]), float(section["loss_probability"]),
                   tuple(map(tuple, section["lost_s"])), float(section["artefact_probability"]),
                   float(section["artefact_c"]), tuple(section["no_signal_regions"]))


@dataclass(frozen=True)
class EstimatorSettings:
    """Settings of the Kalman filter: its noise model, see `estimation.kalman.KalmanFilter`.

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
    truncation : largest change of an output by the states that are left out, at full power [K].
    gain_range, heating_range, absorption_range : (lowest, highest) factor that is learned of a
        focus, a constraint point and a tissue beside the target.
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
    truncation: float = 0.0
    gain_range: tuple[float, float] = (0.2, 4.0)
    heating_range: tuple[float, float] = (0.2, 5.0)
    absorption_range: tuple[float, float] = (0.1, 5.0)

    @classmethod
    def read(cls, section: dict) -> EstimatorSettings:
        return cls(float(section["input_error_fraction"]), float(section["model_noise_k"]),
                   float(section["measurement_floor_k"]), float(section["gain_error"]),
                   float(section["focus_gain_error"]), float(section["gain_walk"]),
                   float(section["heating_error"]), float(section["absorption_error"]),
                   float(section["heating_error_walk"]),
                   float(section["target_error_smoothing"]),
                   float(section["max_innovation_k"]), float(section["truncation_k"]),
                   *(tuple(map(float, section[name])) for name in (
                       "gain_range", "heating_range", "absorption_range")))


@dataclass(frozen=True)
class SafetySettings:
    """Settings of the supervisor, see `safety`.

    Attributes
    ----------
    max_gap : longest time without a valid image [s].
    abort_after : longest time for which power is held off [s].
    max_target : highest measured temperature of the target [degC].
    hard_excess : how far a constraint point may be measured above its limit [K].
    max_drift : how far the images as a whole may be too hot or too cold [K].
    max_focal_shift : how far from its focus heat may appear [m].
    max_decision : longest time that a decision may take [s].
    overshoot_tolerance : how far a hard limit may have been exceeded by a complete treatment [K].
    """

    max_gap: float
    abort_after: float
    max_target: float
    hard_excess: float
    max_drift: float = 0.6
    max_focal_shift: float = 2.5e-3
    max_decision: float = math.inf
    overshoot_tolerance: float = 1.0

    @classmethod
    def read(cls, section: dict) -> SafetySettings:
        latest = section["max_decision_s"]
        return cls(float(section["max_gap_s"]), float(section["abort_after_s"]),
                   float(section["max_target_c"]), float(section["hard_excess_k"]),
                   float(section["max_drift_k"]), 1e-3 * section["max_focal_shift_mm"],
                   math.inf if latest is None else float(latest),
                   float(section["overshoot_tolerance_k"]))


@dataclass(frozen=True)
class Spread:
    """Deviations of a drawn patient from the model, see `patient.drawn.drawn`.

    Attributes
    ----------
    perfusion, conductivity, absorption : standard deviation of the logarithm of each region's
        factor.  focal_shift : of the foci's common shift, along each axis [m].
    """

    perfusion: float
    conductivity: float
    absorption: float
    focal_shift: float

    @classmethod
    def read(cls, section: dict) -> Spread:
        return cls(float(section["perfusion"]), float(section["conductivity"]),
                   float(section["absorption"]), 1e-3 * section["focal_shift_mm"])


@dataclass(frozen=True)
class TissueCurves:
    """Curves of one tissue's properties over temperature, see `patient.tissue_response`.

    Attributes
    ----------
    perfusion, conductivity, absorption : ((temperature [degC], factor), ...) of the value at rest.
    coagulated_conductivity, coagulated_absorption : factors in coagulated tissue.
    """

    perfusion: tuple[tuple[float, float], ...]
    conductivity: tuple[tuple[float, float], ...]
    absorption: tuple[tuple[float, float], ...]
    coagulated_conductivity: float
    coagulated_absorption: float

    @classmethod
    def read(cls, section: dict) -> TissueCurves:
        return cls(*(tuple(map(tuple, section[name]))
                     for name in ("perfusion", "conductivity", "absorption")),
                   float(section["coagulated_conductivity"]),
                   float(section["coagulated_absorption"]))


@dataclass(frozen=True)
class PatientSettings:
    """Settings of the simulated patient, see `patient.drawn.simulated_patient`.

    Attributes
    ----------
    time_step : largest step for thermal dose and peak temperature [s].
    cooling : longest time simulated with the power off after the treatment [s].
    spread, seed : deviations from the model that are drawn.
    responsive : whether tissue responds to heat; the rest matters only then.
    coagulation : thermal dose at which 63 % of tissue is coagulated [CEM43 min].
    boiling : highest temperature [degC].  curves : of the regions that have some.
    """

    time_step: float
    cooling: float
    spread: Spread
    seed: int
    responsive: bool
    coagulation: float
    boiling: float
    curves: dict[str, TissueCurves]

    @classmethod
    def read(cls, section: dict) -> PatientSettings:
        return cls(float(section["time_step_s"]), float(section["cooling_s"]),
                   Spread.read(section["spread"]), section["seed"],
                   section["tissue"] == "responsive", float(section["coagulation_cem43_min"]),
                   float(section["boiling_c"]),
                   {region: TissueCurves.read(curves)
                    for region, curves in section["response"].items()})

"""Settings of the report and the exports, in SI units and degC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hifuflow.settings import Prescription

LIMITS = ("prescription.coverage", "prescription.dose_cem43_min", "prescription.max_time_s",
          "prescription.max_power_w", "safety.max_target_c", "thermometry.interval_s")
# Values of the section `plant` with which the patient is as the model.
LIKE_THE_MODEL = {"perfusion_factor": 1, "conductivity_factor": 1, "absorption_factor": 1,
                  "focal_shift_mm": [0, 0, 0], "regions": {}, "tissue": "linear"}


@dataclass(frozen=True)
class HoldSettings:
    """Goals of mild hyperthermia.

    Attributes
    ----------
    temperature : at which the target should be held [degC].  hold : for how long [s].
    window : allowed deviation of the target's mean, either way [K].
    in_window : least fraction of the time in the window.
    spread : allowed deviation of T10 and T90, either way [K].
    """

    temperature: float
    hold: float
    window: float
    in_window: float
    spread: float

    @classmethod
    def read(cls, section: dict) -> HoldSettings:
        """Settings from the section `hyperthermia` of the patient file."""
        return cls(section["temperature_c"], section["hold_s"], section["window_k"],
                   section["in_window"], section["spread_k"])


@dataclass(frozen=True)
class ReportSettings:
    """The parts of a patient's configuration that the report shows.

    Attributes
    ----------
    file : name of the patient file.  description : one line about the patient, or "".
    controllers : names, in the order in which they are shown.
    anatomical : whether left and right have a meaning; not in a phantom.
    prescription : the prescribed treatment.  hold : goals of hyperthermia.
    imaging_interval : time between images [s].  noise_seed : of the simulated thermometry.
    limits : limits of metrics: dotted key in the patient file -> value as written there.
    deviations : keys of the section `plant` by which the patient differs from the model, and
        "faults" where some are simulated.
    faults : simulated ones, each in the words of the patient file.
    own_controllers : name -> file, class and hash of each controller that is not built in.
    config : the patient file with all defaults filled in, to be shown. Must not be changed.
    """

    file: str
    description: str
    controllers: tuple[str, ...]
    anatomical: bool
    prescription: Prescription
    hold: HoldSettings
    imaging_interval: float
    noise_seed: int
    limits: Mapping[str, float]
    deviations: tuple[str, ...]
    faults: tuple[str, ...]
    own_controllers: Mapping[str, str]
    config: dict

    @classmethod
    def read(cls, section: dict) -> ReportSettings:
        """Settings from the section of the rule `report`."""
        config = section["patient"]
        thermometry = config["thermometry"]
        return cls(section["file"], config["description"], tuple(section["controllers"]),
                   "phantom" not in config["anatomy"], Prescription.read(config["prescription"]),
                   HoldSettings.read(config["hyperthermia"]), thermometry["interval_s"],
                   thermometry["seed"],
                   {limit: _value(config, limit) for limit in LIMITS},
                   _deviations(config["plant"], config["faults"]),
                   tuple(map(fault_words, config["faults"])), section["own_controllers"], config)


@dataclass(frozen=True)
class SummarySettings:
    """Settings of the page of all patients.

    Attributes
    ----------
    controllers : patient -> names of its controllers.
    coverage : patient -> fraction of the target that should be treated.
    hold : patient -> goals of hyperthermia.
    """

    controllers: Mapping[str, list[str]]
    coverage: Mapping[str, float]
    hold: Mapping[str, HoldSettings]

    @classmethod
    def read(cls, section: dict) -> SummarySettings:
        """Settings from the section of the rule `summary`: patient -> controllers and goals."""
        return cls({name: one["controllers"] for name, one in section.items()},
                   {name: one["coverage"] for name, one in section.items()},
                   {name: HoldSettings.read(one["hyperthermia"])
                    for name, one in section.items()})


def _value(config: dict, dotted: str) -> float:
    section, key = dotted.split(".")
    return config[section][key]


def fault_words(fault: dict) -> str:
    """A simulated fault in the words of the patient file, without what says nothing."""
    return ", ".join(f"{key}: {value}" for key, value in fault.items()
                     if value is not None and not (key == "from_s" and not value))


def _deviations(plant: dict, faults: list) -> tuple[str, ...]:
    further = {"spread": any(plant["spread"].values()), "faults": bool(faults)}
    return (*(key for key, value in LIKE_THE_MODEL.items() if plant[key] != value),
            *(key for key, there in further.items() if there))


@dataclass(frozen=True)
class ExportSettings:
    """Settings of the exported files.

    Attributes
    ----------
    dose : prescribed dose [CEM43 min].
    surfaces : temperature of each surface that is not insulated, or of what is in front of it
        [degC].
    nifti_transform : the transform of a NIfTI source's header that positions its voxels.
    """

    dose: float
    surfaces: Mapping[str, float]
    nifti_transform: str

    @classmethod
    def read(cls, section: dict) -> ExportSettings:
        """Settings from the section of the rule `export`."""
        boundary = section["boundary"]
        return cls(section["dose_cem43_min"],
                   {name: boundary[name]["temperature_c"] for name in ("skin", "cut")
                    if boundary[name] != "insulated"}, section.get("nifti_transform", "auto"))

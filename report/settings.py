"""What the configuration says for the report and the exports, in SI units and degC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hifuflow.settings import Prescription

LIMITS = ("prescription.coverage", "prescription.dose_cem43_min", "prescription.max_time_s",
          "prescription.max_power_w", "safety.max_target_c", "thermometry.interval_s")
LIKE_THE_MODEL = {"perfusion_factor": 1, "conductivity_factor": 1, "absorption_factor": 1,
                  "focal_shift_mm": [0, 0, 0], "regions": {}, "tissue": "linear"}


@dataclass(frozen=True)
class HoldSettings:
    """What mild hyperthermia is to reach.

    Attributes
    ----------
    temperature : that the target is held at [degC].  hold : for how long [s].
    window : of the target's mean, either way [K].  in_window : least part of the time in it.
    spread : of what 10 % and 90 % of the target exceed, either way [K].
    """

    temperature: float
    hold: float
    window: float
    in_window: float
    spread: float

    @classmethod
    def read(cls, section: dict) -> HoldSettings:
        """From the section `hyperthermia` of the patient file."""
        return cls(section["temperature_c"], section["hold_s"], section["window_k"],
                   section["in_window"], section["spread_k"])


@dataclass(frozen=True)
class ReportSettings:
    """What the report says of a patient's configuration.

    Attributes
    ----------
    file : name of the patient file.  description : one line about the patient, or "".
    controllers : names, in the order in which they are shown.
    anatomical : whether the patient has a left and a right to name; a phantom has not.
    hold : what hyperthermia is to reach.
    imaging_interval : time between images [s].  noise_seed : of the simulated thermometry.
    limits : what metrics are held against, by its dotted key in the patient file and as it is
        written there.
    deviations : keys of the section `plant` by which the patient differs from the model, and
        "faults" where some are simulated.
    faults : simulated ones, each in the words of the patient file.
    own_controllers : name -> file, class and hash of each that is not built in.
    config : the patient file with all defaults filled in, to be shown. Not to be changed.
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
        """From the section of the rule `report`."""
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
    """What the page of all patients shows.

    Attributes
    ----------
    controllers : patient -> names of its controllers.
    coverage : patient -> part of the target that is to be treated.
    hold : patient -> what hyperthermia is to reach.
    """

    controllers: Mapping[str, list[str]]
    coverage: Mapping[str, float]
    hold: Mapping[str, HoldSettings]

    @classmethod
    def read(cls, section: dict) -> SummarySettings:
        """From the section of the rule `summary`: patient -> its controllers and goals."""
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
    """What the exported files depend on.

    Attributes
    ----------
    dose : prescribed [CEM43 min].
    surfaces : temperature at each surface that is not insulated, or in front of it [degC].
    nifti_transform : which transform of a NIfTI source's header places its voxels.
    """

    dose: float
    surfaces: Mapping[str, float]
    nifti_transform: str

    @classmethod
    def read(cls, section: dict) -> ExportSettings:
        """From the section of the rule `export`."""
        boundary = section["boundary"]
        return cls(section["dose_cem43_min"],
                   {name: boundary[name]["temperature_c"] for name in ("skin", "cut")
                    if boundary[name] != "insulated"}, section.get("nifti_transform", "auto"))

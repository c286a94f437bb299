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
class ReportSettings:
    """What the report says of a patient's configuration.

    Attributes
    ----------
    file : name of the patient file.  description : one line about the patient, or "".
    controllers : names, in the order in which they are shown.
    anatomical : whether the patient has a left and a right to name; a phantom has not.
    imaging_interval : time between images [s].  noise_seed : of the simulated thermometry.
    limits : what metrics are held against, by its dotted key in the patient file and as it is
        written there.
    deviations : keys of the section `plant` by which the patient differs from the model.
    own_controllers : name -> file, class and hash of each that is not built in.
    config : the patient file with all defaults filled in, to be shown. Not to be changed.
    """

    file: str
    description: str
    controllers: tuple[str, ...]
    anatomical: bool
    prescription: Prescription
    imaging_interval: float
    noise_seed: int
    limits: Mapping[str, float]
    deviations: tuple[str, ...]
    own_controllers: Mapping[str, str]
    config: dict

    @classmethod
    def read(cls, section: dict) -> ReportSettings:
        """From the section of the rule `report`."""
        config = section["patient"]
        thermometry = config["thermometry"]
        return cls(section["file"], config["description"], tuple(section["controllers"]),
                   "phantom" not in config["anatomy"], Prescription.read(config["prescription"]),
                   thermometry["interval_s"], thermometry["seed"],
                   {limit: _value(config, limit) for limit in LIMITS},
                   _deviations(config["plant"]), section["own_controllers"], config)


def _value(config: dict, dotted: str) -> float:
    section, key = dotted.split(".")
    return config[section][key]


def _deviations(plant: dict) -> tuple[str, ...]:
    drawn = any(plant["spread"].values())
    return tuple(key for key, value in LIKE_THE_MODEL.items() if plant[key] != value) + (
        ("spread",) if drawn else ())


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

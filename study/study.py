"""The patients of one run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.provenance import ROOT

from .patient import Patient, load_patient
from .schema import check

PATIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Study:
    """The patients of one run: `config/config.yaml` with the command line laid over it."""

    patients: dict[str, Patient]
    results_dir: str
    mpi_ranks: int

    @classmethod
    def from_config(cls, config: dict) -> Study:
        """Check the study and every patient file in it; all faults are reported together."""
        given = {key: str(value) if isinstance(value, int) and key != "mpi_ranks" else value
                 for key, value in config.items()}  # `--config patients=33` comes as a number
        config, faults = check(given, "study", "config/config.yaml or --config")
        if faults:
            raise InvalidConfig(faults)
        folder = _patients_folder(config["patients_dir"])
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        names = config["patients"]
        names = known if names == "all" else [names] if isinstance(names, str) else names
        unusable = [name for name in names if not PATIENT_NAME.fullmatch(name)]
        if unusable:
            raise InvalidConfig([InputError(
                "is not a usable name of a patient", file=folder / f"{name}.yaml", key="patients",
                value=name, allowed="letters, digits, - and _") for name in unusable])
        patients = {}
        for name in names:
            if name not in known:
                faults.append(InputError("no such patient file", file=folder / f"{name}.yaml",
                                         key="patients", value=name,
                                         allowed=", ".join(known) or f"a .yaml file in {folder}"))
                continue
            try:
                patients[name] = load_patient(folder / f"{name}.yaml")
            except InvalidConfig as error:
                faults += error.faults
            except InputError as error:
                faults.append(error)
        if not names:
            faults.append(InputError("holds no patient file", file=folder, key="patients_dir",
                                     allowed="a folder with NAME.yaml files"))
        if faults:
            raise InvalidConfig(faults)
        return cls(patients, str(Path(config["results_dir"]).expanduser()),
                   config["mpi_ranks"])


def _patients_folder(given: str) -> Path:
    """A folder relative to where the run was started, or else to the project."""
    folder = Path(given).expanduser()
    return folder if folder.is_dir() or folder.is_absolute() else ROOT / folder

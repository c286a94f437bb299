"""The patients of one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.provenance import ROOT

from .campaign import Campaign
from .paths import user_path
from .patient import SUFFIXES, Patient, check_name, load_patient
from .schema import check


@dataclass(frozen=True)
class Study:
    """The patients of one run, by `config/config.yaml` overridden by the command line.

    `campaign` : the fault campaign that each of them gets, or None.
    """

    patients: dict[str, Patient]
    results_dir: str
    mpi_ranks: int
    campaign: Campaign | None = None

    def drawn(self) -> tuple[Study, list[str]]:
        """The study of the patients that have a page, and the names of those without one."""
        pages = {name: Path(self.results_dir, name, "report", "index.html")
                 for name in self.patients}
        kept = {name: self.patients[name] for name, page in pages.items() if page.is_file()}
        return replace(self, patients=kept), [name for name in self.patients if name not in kept]

    @classmethod
    def from_config(cls, config: dict) -> Study:
        """Check the study and every patient file in it; all faults are reported together."""
        entered = {key: value if key == "mpi_ranks" else
                   _numbered(value) if key == "campaign" else _named(value)
                   for key, value in config.items()}
        config, faults = check(entered, "study", "config/config.yaml or --config")
        if faults:
            raise InvalidConfig(faults)
        folders = {key: user_path(config[key], "") for key in ("patients_dir", "results_dir")}
        faults = [InputError("no folder can have this name", file="config/config.yaml or --config",
                             key=key, value=config[key], allowed="the path of a folder")
                  for key, path in folders.items() if path is None]
        if faults:
            raise InvalidConfig(faults)
        files, faults = _patient_files(config["patients"],
                                       _patients_folder(folders["patients_dir"]))
        patients = {}
        for name, file in files.items():
            try:
                patients[name] = load_patient(file)
            except InvalidConfig as error:
                faults += error.faults
            except InputError as error:
                faults.append(error)
        if faults:
            raise InvalidConfig(faults)
        campaign = Campaign.read(config["campaign"]) if "campaign" in config else None
        for patient in patients.values() if campaign else ():
            campaign.treated_by(patient)
        return cls(patients, str(folders["results_dir"]), config["mpi_ranks"], campaign)


def reports(arguments: list[str]) -> bool:
    """Whether Snakemake was asked for a report of existing results, and not for a run."""
    return "--report-after-run" not in arguments and any(
        argument.partition("=")[0] in ("--report", "--reporter") for argument in arguments)


def _named(value):
    """Names as text: `--config patients=33` arrives as a number."""
    if isinstance(value, list):
        return [_named(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _numbered(campaign):
    """Inside a section, `--config` hands numbers on as text."""
    if not isinstance(campaign, dict):
        return campaign
    return {key: int(value) if key in ("draws", "pairs", "seed") and str(value).isdecimal()
            else value for key, value in campaign.items()}


def is_path(patient: str) -> bool:
    """Whether this names a patient's file, and not a patient of the folder `patients_dir`."""
    return "/" in patient or patient.endswith(SUFFIXES)


def _patient_files(patients: str | list[str], folder: Path) -> tuple[dict, list[InputError]]:
    """Name -> file of each patient, and a fault for each that cannot be treated."""
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if patients == "all" and not known:
        return {}, [InputError("holds no patient file", file=folder, key="patients_dir",
                               allowed="a folder with NAME.yaml files")]
    asked = known if patients == "all" else [patients] if isinstance(patients, str) else patients
    files, faults = {}, []
    for patient in asked:
        file = (user_path(patient, "") if is_path(patient)
                else user_path(f"{patient}.yaml", folder))
        try:
            if file is not None:
                check_name(file)
            if file is None or not file.is_file():
                raise InputError("no such patient file", file=file, key="patients", value=patient,
                                 allowed="a file, or the name of a patient"
                                 if is_path(patient) else
                                 ", ".join(known) or f"a .yaml file in {folder}")
            if file.stem in files:
                raise InputError(f"two patients are called '{file.stem}'", file=file,
                                 key="patients", value=f"{files[file.stem]} and {file}",
                                 allowed="file names that differ: results are kept under them")
            files[file.stem] = file
        except InputError as fault:
            faults.append(fault)
    return files, faults


def _patients_folder(folder: Path) -> Path:
    """A folder relative to where the run was started, or else to the project."""
    return folder if folder.is_dir() or folder.is_absolute() else ROOT / folder

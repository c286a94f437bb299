"""Inputs of the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hifuflow.formats.hdf5 import open_artifact
from hifuflow.job import read_json
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.certificate import read_certificate
from hifuflow.records.plan import Plan
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.records.trajectory import Trajectory
from hifuflow.report.figures.view import View
from hifuflow.settings import Prescription

from .goals import is_hyperthermia
from .settings import HoldSettings, ReportSettings

MODELS = ("control", "plant")


@dataclass
class ReportInputs:
    """Everything that the report shows; parts that were not computed stay None or empty.

    Attributes
    ----------
    patient : name.  settings : from its file.
    anatomy, plan : see `hifuflow.records`.  constraints : `anatomy/constraints.json`.
    heating_path : `acoustics/heating.h5`, from which single foci are read to be drawn.
    mesh_paths, mesh_records : model -> `.msh` path, model -> its JSON record.
    unknowns : model -> number of unknowns.
    plant_path : `fem/plant.h5`, for temperatures of voxels.
    hsv, error_bound, rom_order : of the reduced model.
    certificate : `certificate.json`, if it belongs to this reduced model; if not,
        certificate_note says why, in words.
    treatments : controller -> (Trajectory, metrics).
    ensembles : controller -> `ensemble/{controller}.json`, where drawn patients were treated.
    provenance : versions and hashes by name; a value may itself be a dict.
    """

    patient: str
    settings: ReportSettings
    anatomy: Anatomy
    plan: Plan
    constraints: dict
    heating_path: Path | None = None
    mesh_paths: dict = field(default_factory=dict)
    mesh_records: dict = field(default_factory=dict)
    unknowns: dict = field(default_factory=dict)
    plant_path: Path | None = None
    hsv: np.ndarray | None = None
    error_bound: np.ndarray | None = None
    rom_order: int | None = None
    certificate: dict = field(default_factory=dict)
    certificate_note: str = ""
    treatments: dict = field(default_factory=dict)
    ensembles: dict = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)

    @property
    def view(self) -> View:
        """Directions for the figures; a phantom has no left and right to name."""
        return View.of(self.anatomy.axis, anatomical=self.settings.anatomical)

    @property
    def prescription(self) -> Prescription:
        """The prescription of the patient file."""
        return self.settings.prescription

    @property
    def holding(self) -> list[str]:
        """Names of the controllers that hold a temperature and should leave no lesion."""
        return [name for name, (_, metrics) in self.treatments.items() if is_hyperthermia(metrics)]

    def hold_settings(self, name: str) -> HoldSettings | None:
        """Settings of a controller that holds a temperature; None for an ablation."""
        return self.settings.hold if name in self.holding else None

    @classmethod
    def from_folder(cls, folder, patient: str, settings: ReportSettings, provenance: dict,
                    ensembles=()) -> ReportInputs:
        """Read `results/{patient}`: all that was computed, and these files of its ensembles."""
        folder = Path(folder)
        inputs = cls(patient, settings, Anatomy.load(folder / "anatomy"),
                     Plan.load(folder / "acoustics" / "plan.json"),
                     read_json(folder / "anatomy" / "constraints.json"), provenance=provenance)
        if (folder / "acoustics" / "heating.h5").is_file():
            inputs.heating_path = folder / "acoustics" / "heating.h5"
        for model in MODELS:
            mesh = folder / "mesh" / model
            if mesh.with_suffix(".msh").is_file():
                inputs.mesh_paths[model] = mesh.with_suffix(".msh")
            if mesh.with_suffix(".json").is_file():
                inputs.mesh_records[model] = read_json(mesh.with_suffix(".json"))
            assembled = folder / "fem" / f"{model}.h5"
            if assembled.is_file():
                with open_artifact(assembled, "bioheat_model") as file:
                    inputs.unknowns[model] = len(file["baseline"])
                if model == "plant":
                    inputs.plant_path = assembled
        if (folder / "reduction" / "rom.h5").is_file():
            rom = ReducedModel.load(folder / "reduction" / "rom.h5")
            inputs.hsv, inputs.error_bound = rom.hsv, rom.error_bound
            inputs.rom_order = rom.order
        inputs.certificate, inputs.certificate_note = read_certificate(
            folder / "reduction" / "certificate.json", folder / "reduction" / "rom.h5")
        for name in settings.controllers:
            control = folder / "control" / name
            if (control / "trajectory.h5").is_file():
                inputs.treatments[name] = (Trajectory.load(control / "trajectory.h5"),
                                           read_json(control / "metrics.json"))
        inputs.ensembles = {Path(path).stem: read_json(path) for path in sorted(ensembles)}
        return inputs

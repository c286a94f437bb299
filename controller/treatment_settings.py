"""Settings of one treatment: all sections that the loop needs, and its controller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hifuflow.settings import Prescription

from .fault_settings import read_faults
from .methods.base import Controller
from .methods.option import read_options
from .methods.registry import controller_class
from .patient.faults import Fault
from .settings import (
    EstimatorSettings,
    PatientSettings,
    SafetySettings,
    Spread,
    ThermometrySettings,
)


@dataclass(frozen=True)
class TreatmentSettings:
    """Settings of one treatment, in SI units.

    Attributes
    ----------
    controller : class of the controller.  options : instance of its `Options`.
    own_file : file of a controller that is not built in; None for one that is.
    prescription, thermometry, patient, estimator, safety : see `settings`.
    faults : of the simulated array and scanner, see `patient.faults`.
    file : patient file, for messages.  name : of the controller there.
    """

    controller: type[Controller]
    options: object
    own_file: Path | None
    prescription: Prescription
    thermometry: ThermometrySettings
    patient: PatientSettings
    estimator: EstimatorSettings
    safety: SafetySettings
    faults: tuple[Fault, ...] = ()
    file: str | None = None
    name: str = ""

    @classmethod
    def read(cls, section: dict) -> TreatmentSettings:
        """From a patient's section `control` (`Patient.section("control", name)`).

        Raises
        ------
        InputError : the controller's own file cannot be used any more.
        """
        source = section["controller"]
        controller = controller_class(source)
        return cls(controller, read_options(controller.Options, section["options"]),
                   Path(source["file"]) if "file" in source else None,
                   Prescription.read(section["prescription"]),
                   ThermometrySettings.read(section["thermometry"]),
                   PatientSettings.read(section["plant"]),
                   EstimatorSettings.read(section["estimator"]),
                   SafetySettings.read(section["safety"]), read_faults(section["faults"]),
                   section.get("file"), source["name"])

    def drawn(self, spread: Spread, seed: int) -> TreatmentSettings:
        """The same treatment of another patient: noise and deviations drawn with a seed."""
        return replace(self, thermometry=replace(self.thermometry, seed=seed),
                       patient=replace(self.patient, spread=spread, seed=seed))

"""The one interface of all controllers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from hifuflow.controller.dose import covered
from hifuflow.controller.estimation.kalman import Estimate
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.settings import Prescription
from hifuflow.records.trajectory import Trajectory


class Controller(ABC):
    """Decides the power of every focus from what is estimated; it never meets the patient.

    Parameters
    ----------
    model : the reduced model from sample to sample.
    prescription : dose, coverage, full power, time.
    options : the controller's own section of the configuration.

    Attributes
    ----------
    unreachable : set when the controller sees no way to reach the prescription.
    """

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: dict):
        self.model = model
        self.prescription = prescription
        self.options = options
        self.unreachable = False
        self._notes: list[str] = []

    @abstractmethod
    def decide(self, estimate: Estimate) -> np.ndarray:
        """(n_foci,) power from now to the next sample [W], not negative, sum <= full power."""

    def finished(self, estimate: Estimate) -> bool:
        """Whether all is done: by default, when as much of the target as prescribed has the
        prescribed dose, by the estimate."""
        outputs, wanted = self.model.outputs, self.prescription
        return covered(estimate.target_dose, wanted.dose,
                       outputs.volume[outputs.target]) >= wanted.coverage - 1e-12

    def metrics(self, trajectory: Trajectory) -> dict:
        """Numbers beside those that every treatment is judged by; none by default."""
        return {}

    def note(self, text: str) -> None:
        """Say what was decided; it becomes an event of the treatment."""
        self._notes.append(text)

    def take_notes(self) -> list[str]:
        """Notes since the last call."""
        notes, self._notes = self._notes, []
        return notes

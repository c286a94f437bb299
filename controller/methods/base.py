"""Base class of all controllers: derive from it to write one of your own.

A controller is a class with a `decide` method, in a Python file anywhere. A patient file names it
beside the built-in ones, and gives its options in a section with its plain name (`Gentle` is
`gentle`, `PowerRamp` is `power_ramp`; results are called the same, `control/gentle/`):

    controllers: [mintime, ./mine.py:Gentle]
    gentle: {step_w_k: 0.5}

docs/own_controller.md shows a whole one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hifuflow.controller.dose import covered

from .option import NoOptions

if TYPE_CHECKING:  # only named below: this file is loaded in each of a run's many processes
    from hifuflow.controller.estimation.estimate import Estimate
    from hifuflow.controller.prediction import DiscreteModel
    from hifuflow.records.trajectory import Trajectory
    from hifuflow.settings import Prescription


class Controller(ABC):
    """Controller of a treatment: decides the power of every focus from the estimated state.

    It never meets the patient: all it gets is the model, once, and an `Estimate` at every sample.
    What is called, and when:

    1. `__init__`, once, before the treatment; it may take its time. An exception ends the run.
    2. At every sample (`model.interval`, 2 s by default), when the image has been taken in:
       `finished`, and, if it is not, `decide`. Neither is called while the supervisor holds the
       power off except `finished`. They should take a fraction of a sample.
    3. `metrics`, once, after the treatment and the cooling.

    An exception in `finished` or `decide`, and a command that breaks the contract of `decide`,
    switch the power off for this sample and are named in the treatment's events; after
    `safety.abort_after_s` without a break the treatment is aborted. Same estimates must lead to
    same decisions: draw random numbers from a generator with a fixed seed, and do not ask the
    clock.

    Parameters
    ----------
    model : reduced model from sample to sample, see `DiscreteModel`: x+ = A x + B u, rises C x [K]
        above `outputs.baseline` [degC], with u the power of each focus [W]. Rows of C are
        constraint points (`model.constraint_rows`), then target voxels (`model.target_rows`);
        `model.outputs` says where they lie [m], their volumes [m3] and limits [degC],
        `model.foci` where the foci lie [m].
    prescription : dose [CEM43 min], coverage (fraction of the target's volume), full power
        `max_power` [W], `max_time` [s].
    options : instance of `Options`, from the controller's section of the patient file.

    Attributes
    ----------
    model, prescription, options : as above; their arrays cannot be written to.
    Options : frozen dataclass that describes the options, see `option.option`; none by default.
    unreachable : set it when there is no way to reach the prescription: the treatment ends.
    yardstick : whether the controller only serves for comparison, as `optimum` does: it is left out
        of ensembles where it is not named, and never is the best treatment.
    """

    Options: ClassVar[type] = NoOptions
    yardstick: ClassVar[bool] = False
    unreachable = False

    def __init__(self, model: DiscreteModel, prescription: Prescription, options):
        self.model = model
        self.prescription = prescription
        self.options = options

    @abstractmethod
    def decide(self, estimate: Estimate) -> np.ndarray:
        """Power of each focus from now to the next sample.

        Returns
        -------
        (n_foci,) acoustic power [W]: finite, not negative, `prescription.max_power` at most in all.
        """

    def finished(self, estimate: Estimate) -> bool:
        """Whether the treatment is complete; it then ends at once, before `decide` is asked.

        By default, when as much of the target as prescribed has the prescribed dose, by the
        estimate.
        """
        outputs, wanted = self.model.outputs, self.prescription
        return covered(estimate.target_dose, wanted.dose,
                       outputs.volume[outputs.target]) >= wanted.coverage - 1e-12

    def metrics(self, trajectory: Trajectory) -> dict:
        """Numbers for `metrics.json` beside those that every treatment is judged by.

        Names end in their unit; what does not exist is None. A name that every treatment has keeps
        its own value. `trajectory` holds what the patient really got, see `Trajectory`.
        """
        return {}

    def note(self, text: str) -> None:
        """Add an event to the treatment's record, e.g. why the power was changed."""
        vars(self).setdefault("_notes", []).append(str(text))

    def take_notes(self) -> list[str]:
        """Notes since the last call; for the loop."""
        return vars(self).pop("_notes", [])

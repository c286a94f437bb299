"""Minimum-time treatment: a plan for all foci, improved while it is carried out.

Before the treatment a plan (`planning`) is made and shortened as long as it still reaches its goal:
first the fraction `first_coverage` of the target, the part that takes least; once that is within
reach, the prescribed coverage. During the treatment the plan is renewed in cycles of
`CYCLE` blocks: the next one starts from the predicted end of the cycle and gets a fixed number
of evaluations per sample, so a decision always takes the same time.
Each sample the planned powers are cut down to what the limits allow (`limits`), judged from the
present estimate.
"""

from __future__ import annotations

import math

import numpy as np

from hifuflow.errors import NumericalError

from .base import Controller
from .estimator import Estimate
from .limits import Limits
from .planning import (
    PLAN_ERROR,
    SHARPEST,
    Goal,
    PlanProblem,
    first_plan,
    lbfgs,
    lengthened,
    stretched,
)
from .prediction import DiscreteModel, ModalModel
from .settings import Prescription

LIMIT_ERROR = 5e-4  # bound of the truncation that the limits are judged with [K/W]
CYCLE = 5  # blocks
SHORTEST = 8  # blocks
SECOND = 50  # blocks that a plan begins with for the rest of the target
NEGLIGIBLE = 1e-3  # of full power


class MintimeController(Controller):
    """Powers of all foci from a plan; options as in the patient schema."""

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: dict):
        super().__init__(model, prescription, options)
        self._options = options
        outputs = model.outputs
        samples = max(1, round(options["block_s"] / model.interval))
        self._samples = samples
        self._blocks = ModalModel(model, PLAN_ERROR, samples)
        self._limits = Limits(model, LIMIT_ERROR, options["max_target_c"],
                              prescription.max_power)
        interval = self._blocks.interval
        room = (outputs.limit - outputs.baseline)[outputs.constraint] - options["margin_k"]
        self._goal = Goal(prescription.dose * options["dose_factor"], room,
                          options["max_target_c"], prescription.max_power,
                          math.ceil(options["coast_s"] / interval))
        self._longest = max(SHORTEST, int(options["horizon_s"] / interval))
        volume = outputs.volume[outputs.target]
        self._volume = volume / volume.sum()
        self._sample, self._installed = 0, 0
        self._best, self._last_progress = 0.0, 0.0
        self._fraction = options["first_coverage"]
        self._theta, self._multiplier = first_plan(
            model, self._samples, self._goal, self._fraction, options["preparation"],
            self._longest)
        self._begin_cycle(self._blocks.modal(np.zeros(len(model.A))), np.zeros(len(volume)))

    def decide(self, estimate: Estimate) -> np.ndarray:
        self._watch_progress(estimate)
        if self._sample - self._installed == CYCLE * self._samples:
            self._install(estimate)
        row = (self._sample - self._installed) // self._samples
        planned = self._plan[row]
        for _ in range(self._options["evaluations"]):
            self._next = next(self._search, self._next)
        self._sample += 1
        return self._keep_limits(planned, estimate)

    def _keep_limits(self, planned: np.ndarray, estimate: Estimate) -> np.ndarray:
        margin = (self._options["margin_k"] + self._limits.truncation
                  + self._options["confidence"] * estimate.constraint_deviation)
        try:
            return self._limits.allowed(planned, estimate, margin)
        except NumericalError as error:
            self.note(f"power off: {error}")
            return np.zeros_like(planned)

    def _watch_progress(self, estimate: Estimate) -> None:
        covered = float(self._volume[estimate.target_dose >= self.prescription.dose].sum())
        if covered > self._best:
            self._best, self._last_progress = covered, estimate.time
        elif estimate.time - self._last_progress > self._options["patience_s"]:
            self.unreachable = True

    def _problem(self, start, dose, multiplier) -> PlanProblem:
        return PlanProblem(self.model, self._blocks, self._goal, start, dose, multiplier)

    def _install(self, estimate: Estimate) -> None:
        """Go over to the plan that was being made, and begin the next one."""
        theta = self._next
        self._problem_ahead.update_multipliers(theta ** 2)
        multiplier = self._problem_ahead.multiplier
        start = self._blocks.modal(estimate.state)
        problem = self._problem(start, estimate.target_dose, multiplier)
        reached = problem.coverage(theta ** 2)
        length = len(theta)
        first = self._fraction < self.prescription.coverage
        if length <= 2 * CYCLE and first == (reached >= self._fraction):
            # On to the rest of the target, or once more with time to wait for the limits.
            self._fraction, length = self.prescription.coverage, SECOND
        elif reached < self._fraction:
            length += 1 + CYCLE // 2
        else:
            length -= 1
        length = min(self._longest, max(SHORTEST, length))
        if length > len(theta):
            theta, multiplier = lengthened(theta, multiplier, length, self._goal,
                                           problem.need(theta ** 2))
        elif length < len(theta):
            theta, multiplier = stretched(theta, multiplier, length, self._goal.coast)
        self._theta, self._multiplier = theta, multiplier
        self._installed = self._sample
        self._begin_cycle(start, estimate.target_dose)

    def _begin_cycle(self, start, dose) -> None:
        """Set up the plan that takes over after this cycle."""
        now = self._problem(start, dose, self._multiplier)
        power = self._theta ** 2
        power[power < NEGLIGIBLE * self.prescription.max_power] = 0.0
        self._plan = np.vstack([power, np.zeros((max(0, CYCLE - len(power)), power.shape[1]))])
        temperature, _, states = now.predict(self._plan)
        dose = dose + now.block_dose(temperature[:, :CYCLE]).sum(axis=1)
        theta, multiplier = self._theta[CYCLE:], self._multiplier[:, CYCLE:]
        if len(theta) < SHORTEST:
            theta, multiplier = lengthened(theta, multiplier, SHORTEST, self._goal,
                                           now.need(power))
        ahead = self._problem(states[:, CYCLE - 1], dose, multiplier)
        ahead.sharpness = SHARPEST
        if self._fraction < self.prescription.coverage:
            ahead.favour(self._fraction, theta ** 2)
        self._problem_ahead, self._next = ahead, theta
        self._search = lbfgs(ahead, theta)

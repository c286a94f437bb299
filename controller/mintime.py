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
from hifuflow.job import log

from .base import Controller
from .estimator import Estimate
from .limits import Limits
from .planning import Goal, PlanProblem, lbfgs
from .prediction import DiscreteModel, ModalModel
from .settings import Prescription

PLAN_ERROR = 0.2  # bound of the planning model's truncation [K/W]; it is pessimistic by far
LIMIT_ERROR = 5e-4  # the same for the limits
CYCLE = 10  # blocks
SHORTEST = 20  # blocks
FIRST_GUESS, LEAST = 200, 4  # blocks
SHARPEST = 4.0
START_POWER = 0.15  # of full power, spread over all foci
NEGLIGIBLE = 1e-3  # of full power
REST = 0.05  # weight of voxels that a first plan need not reach
PREPARATION = 150  # evaluations between two adjustments of the first plan's length


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
        self._prepare()

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

    def _prepare(self) -> None:
        """The first plan, from the baseline."""
        n_foci, n_c = len(self.model.foci), int(self.model.outputs.constraint.sum())
        start = self._blocks.modal(np.zeros(len(self.model.A)))
        dose = np.zeros(len(self._volume))
        length = min(self._longest, FIRST_GUESS)
        level = math.sqrt(START_POWER * self.prescription.max_power / n_foci)
        unequal = np.random.default_rng(0).uniform(0.7, 1.2, (length, n_foci))
        theta = level * unequal  # so that foci can take turns
        problem = self._problem(start, dose, np.zeros((n_c, length + self._goal.coast),
                                                      dtype=np.float32))
        self._fraction = self._options["first_coverage"]
        turns = self._options["preparation"]
        for turn in range(1, turns + 1):
            theta = _improved(problem, theta, PREPARATION)
            problem.update_multipliers(theta ** 2)
            reached = problem.coverage(theta ** 2)
            log.info("plan of %.0f s: %.1f %% of the target", len(theta) * self._blocks.interval,
                     100 * reached)
            if turn < turns / 3:
                continue
            problem.sharpness = min(SHARPEST, 1.5 * problem.sharpness)
            problem.favour(self._fraction + 0.01, theta ** 2, REST)
            # Near the goal a plan that is 1 % longer treats some 0.5 % more of the target.
            factor = np.clip(1 + 2 * (self._fraction - reached), 0.8, 1.15)
            length = min(self._longest, max(LEAST, round(len(theta) * factor)))
            if turn < turns:
                theta, problem.multiplier = _stretched(theta, problem.multiplier, length)
        self._theta, self._multiplier = theta, problem.multiplier
        self._begin_cycle(start, dose)

    def _install(self, estimate: Estimate) -> None:
        """Go over to the plan that was being made, and begin the next one."""
        theta = self._next
        self._problem_ahead.update_multipliers(theta ** 2)
        multiplier = self._problem_ahead.multiplier
        start = self._blocks.modal(estimate.state)
        problem = self._problem(start, estimate.target_dose, multiplier)
        reached = problem.coverage(theta ** 2)
        if reached >= self._options["first_coverage"] and len(theta) <= 2 * CYCLE:
            self._fraction = self.prescription.coverage
        length, goal = len(theta), self._fraction
        new = length + CYCLE // 2 if reached < goal else length - CYCLE // 5
        new = min(self._longest, max(SHORTEST, new))
        if new > length:
            theta, multiplier = _lengthened(theta, multiplier, new, self._goal)
        elif new < length:
            theta, multiplier = _stretched(theta, multiplier, new)
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
            theta, multiplier = _lengthened(theta, multiplier, SHORTEST, self._goal)
        ahead = self._problem(states[:, CYCLE - 1], dose, multiplier)
        ahead.sharpness = SHARPEST
        if self._fraction < self.prescription.coverage:
            ahead.favour(self._fraction + 0.01, theta ** 2, REST)
        self._problem_ahead, self._next = ahead, theta
        self._search = lbfgs(ahead, theta)


def _improved(problem: PlanProblem, theta: np.ndarray, evaluations: int) -> np.ndarray:
    search = lbfgs(problem, theta)
    for _ in range(evaluations):
        theta = next(search, theta)
    return theta


def _stretched(theta, multiplier, length: int):
    """A plan and its multipliers over another number of blocks."""
    source = np.minimum((np.arange(length) + 0.5) * len(theta) / length, len(theta) - 1).astype(int)
    cooling = np.arange(len(theta), multiplier.shape[1])
    return theta[source], multiplier[:, np.append(source, cooling)]


def _lengthened(theta, multiplier, length: int, goal: Goal):
    """A plan with blocks of low, even power put to its end."""
    extra = length - len(theta)
    level = math.sqrt(START_POWER * goal.max_power / theta.shape[1])
    return (np.vstack([theta, np.full((extra, theta.shape[1]), level)]),
            np.pad(multiplier, ((0, 0), (0, length + goal.coast - multiplier.shape[1])), "edge"))

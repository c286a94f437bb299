"""Minimum-time treatment: a plan for all foci, improved while it is carried out.

Before the treatment a plan (`planning`) is made that treats the fraction `first_coverage` of the
target, the part that takes least, as soon as it can, and after that the rest. During the treatment
the plan is renewed in cycles of `CYCLE` blocks: the next one starts from the predicted end of the
cycle and gets a fixed number of evaluations per sample, so a decision always takes the same time.
Each sample the planned powers are cut down to what the limits allow (`limits`), judged from the
present estimate. The treatment ends when enough of the target is estimated to have `finish_factor`
times the dose, a margin for errors of the estimate; the plan aims at `dose_factor` times.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hifuflow.controller.dose import covered
from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.prediction import BlockModel, DiscreteModel
from hifuflow.settings import Prescription

from .base import Controller
from .first_plan import NEGLIGIBLE, first_plan, lasting_power, lengthened, stretched, uneven
from .lbfgs import lbfgs
from .limits import SPEND_S, Limits, Margins
from .options import MintimeOptions
from .planning import PLAN_ERROR, SHARPEST, Goal, PlanProblem

CYCLE = 5  # blocks
SHORTEST = 8  # blocks
LATER = 3  # blocks that a plan gets in a cycle when it falls short
SHORT_S = 800.0  # least length of a plan that falls short


class MintimeController(Controller):
    """Minimum-time controller: powers of all foci from a plan that is renewed as it goes."""

    Options = MintimeOptions

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: MintimeOptions):
        super().__init__(model, prescription, options)
        outputs = model.outputs
        self._samples = max(1, round(options.block / model.interval))
        self._blocks = self._heated = BlockModel(model, PLAN_ERROR, self._samples)
        self._limits = Limits(model, prescription.max_power, options.max_target,
                              Margins(options.margin, options.confidence, options.heating_margin))
        interval = self._blocks.interval
        self._goal = Goal(prescription.dose * options.dose_factor,
                          self._limits.room(None, options.horizon) - options.margin,
                          ~outputs.soft[outputs.constraint], options.max_target,
                          prescription.max_power, math.ceil(options.coast / interval))
        self._longest = max(SHORTEST, int(options.horizon / interval))
        self._volume = outputs.volume[outputs.target]
        self._sample, self._installed = 0, 0
        self._best, self._last_progress = 0.0, 0.0
        # The block by which the first fraction of the target should have its dose, from now on.
        self._theta, self._multiplier, self._milestone = first_plan(
            model, self._samples, self._goal, (options.first_coverage, prescription.coverage),
            options.preparation, self._longest)
        problem = self._problem(self._blocks.modal(np.zeros(len(model.A))),
                                np.zeros(len(self._volume)), self._multiplier)
        self._begin_cycle(problem, problem.doses(self._theta ** 2, self._milestone))

    def decide(self, estimate: Estimate) -> np.ndarray:
        self._watch_progress(estimate)
        if self._sample - self._installed == CYCLE * self._samples:
            self._install(estimate)
        else:
            for _ in range(self.options.evaluations):
                self._next = next(self._search, self._next)
        planned = self._plan[(self._sample - self._installed) // self._samples]
        self._sample += 1
        return self._limits.allowed(planned, estimate)

    def finished(self, estimate: Estimate) -> bool:
        return self._treated(estimate) >= self.prescription.coverage - 1e-12

    def _treated(self, estimate: Estimate) -> float:
        """Fraction of the target that has `finish_factor` times the dose, by the estimate."""
        return covered(estimate.target_dose,
                       self.options.finish_factor * self.prescription.dose, self._volume)

    def _watch_progress(self, estimate: Estimate) -> None:
        reached = self._treated(estimate)
        if reached > self._best:
            self._best, self._last_progress = reached, estimate.time
        elif estimate.time - self._last_progress > self.options.patience:
            self.unreachable = True

    def _problem(self, start, dose, multiplier) -> PlanProblem:
        return PlanProblem(self.model, self._heated, self._goal, start, dose, multiplier)

    def _install(self, estimate: Estimate) -> None:
        """Go over to the plan that was being made, and begin the next one."""
        theta = self._next
        self._problem_ahead.update_multipliers(theta ** 2)
        multiplier = self._problem_ahead.multiplier
        # What the limits will be judged with.
        length = max(SPEND_S, len(theta) * self._blocks.interval)
        self._goal = replace(self._goal, room=(
            self._limits.room(estimate.constraint_dose, length)
            - self._limits.margin(estimate)) / estimate.constraint_gain)
        self._heated, start = self._corrected(estimate)
        problem = self._problem(start, estimate.target_dose, multiplier)
        doses = problem.doses(theta ** 2, max(self._milestone, 0))
        early, late = (problem.coverage(dose) for dose in doses)
        length = len(theta) - 1
        if late < self.prescription.coverage:
            length = max(len(theta) + LATER, int(SHORT_S / self._blocks.interval))
        if self._milestone > 0:
            self._milestone += -1 if early >= self.options.first_coverage else LATER
        length = min(self._longest, max(SHORTEST, length))
        if length > len(theta):
            theta, multiplier = self._lengthened(problem, theta, multiplier, length, doses[1])
        elif length < len(theta):
            theta, multiplier = stretched(theta, multiplier, length, self._goal.coast)
        self._theta, self._multiplier = theta, multiplier
        self._installed = self._sample
        self._begin_cycle(problem, doses)

    def _corrected(self, estimate: Estimate):
        """The plans' model with the estimated errors of the heating, and its present state."""
        blocks = self._blocks.amplified(estimate.gain)
        start, extra = self._blocks.modal(estimate.state), estimate.absorbed
        if extra is None:
            return blocks, start
        rise = np.zeros((len(self.model.C), len(extra.lately)))
        rise[self.model.outputs.constraint] = extra.rise / estimate.constraint_gain[:, None]
        return (blocks.with_recent(rise, estimate.gain, extra.left),
                np.append(start, extra.lately).astype(np.complex64))

    def _lengthened(self, problem: PlanProblem, theta, multiplier, length: int, dose):
        """The plan with more blocks, for what it leaves without the dose."""
        share, extra = problem.focus_shares(dose), length - len(theta)
        lasting = lasting_power(self.model, self._heated, self._goal, share)
        return lengthened(theta, multiplier, self._goal.coast,
                          lasting * share * uneven(extra, len(share)))

    def _begin_cycle(self, now: PlanProblem, doses) -> None:
        """Set up the plan that takes over after this cycle; `doses` (n_v,) that the present one
        reaches at its milestone and at its end."""
        power = self._theta ** 2
        power[power < NEGLIGIBLE * self.prescription.max_power] = 0.0
        self._plan = np.vstack([power, np.zeros((max(0, CYCLE - len(power)), power.shape[1]))])
        temperature, _, states = now.predict(self._plan[:CYCLE], coast=0)
        theta, multiplier = self._theta[CYCLE:], self._multiplier[:, CYCLE:]
        if len(theta) < SHORTEST:
            theta, multiplier = self._lengthened(now, self._theta, self._multiplier,
                                                 CYCLE + SHORTEST, doses[1])
            theta, multiplier = theta[CYCLE:], multiplier[:, CYCLE:]
        ahead = self._problem(states[:, -1], now.dose + now.block_dose(temperature).sum(axis=1),
                              multiplier)
        ahead.sharpness = SHARPEST
        self._milestone -= CYCLE
        if 0 < self._milestone < len(theta):
            ahead.favour(self.options.first_coverage, doses[0], self._milestone)
        self._problem_ahead, self._next = ahead, theta
        self._search = lbfgs(ahead, theta)

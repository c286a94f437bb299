"""First plan of a treatment, and plans made longer and shorter."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from hifuflow.controller.prediction import BlockModel, DiscreteModel
from hifuflow.job import log

from .lbfgs import lbfgs
from .planning import PLAN_ERROR, SHARPEST, Goal, PlanProblem

FIRST_GUESS_S, LEAST = 800.0, 2  # length of a first plan, and its least number of blocks
UNEVEN = 1.5  # standard deviation of the logarithm of the powers that a plan begins with
REST_S = 400.0  # what a plan begins with for the rest of the target
ROUND = 300  # evaluations
NEGLIGIBLE = 1e-3  # of full power


def first_plan(model: DiscreteModel, samples: int, goal: Goal, fractions: tuple[float, float],
               rounds: int, longest: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Plan from the untreated state that brings the dose to one fraction of the target as soon as
    it can, and to another after that.

    It begins in blocks twice as long, where the time is found with little work; blocks for the
    second fraction are put to the end.

    Parameters
    ----------
    samples : of a block.  rounds : of improvement of each of the three parts.
    longest : most blocks.

    Returns
    -------
    theta (N, n_foci), multipliers (n_c, N + coast), blocks after which the first fraction has its
    dose.
    """
    first, last = fractions
    planner = _FirstPlanner(model, 2 * samples, replace(goal, coast=math.ceil(goal.coast / 2)))
    length = max(LEAST, min(longest // 2, int(FIRST_GUESS_S / planner.blocks.interval)))
    theta = np.sqrt(planner.lasting(np.full(len(model.foci), 1 / len(model.foci)), length))
    multiplier = np.zeros((len(goal.room), length + planner.goal.coast), dtype=np.float32)
    for turn in range(rounds):
        reached, theta, multiplier = planner.improve(theta, multiplier, first if turn else None)
        if turn < rounds - 1:
            length = round(len(theta) * _change(first, reached))
            theta, multiplier = stretched(theta, multiplier,
                                          max(LEAST, min(longest // 2, length)), planner.goal.coast)
    planner = _FirstPlanner(model, samples, goal, SHARPEST)
    theta, multiplier = stretched(theta, multiplier, 2 * len(theta), goal.coast)
    for _ in range(rounds):
        reached, theta, multiplier = planner.improve(theta, multiplier, first)
    milestone, rest = len(theta), int(REST_S / planner.blocks.interval)
    for _ in range(rounds):
        if reached >= last:
            break
        problem = planner.problem(multiplier)
        share = problem.focus_shares(problem.doses(theta ** 2)[1])
        theta, multiplier = lengthened(theta, multiplier, goal.coast, planner.lasting(
            share, max(0, min(rest, longest - len(theta)))))
        reached, theta, multiplier = planner.improve(theta, multiplier, first, milestone)
        rest //= 2
    # Before anything is heated nothing changes: a plan that waits comes out the same without it.
    waits = int(np.argmax((theta ** 2).sum(axis=1) > NEGLIGIBLE * goal.max_power))
    return theta[waits:], multiplier[:, waits:], max(1, milestone - waits)


class _FirstPlanner:
    """Planner of a treatment from the untreated state, in blocks of one length."""

    def __init__(self, model: DiscreteModel, samples: int, goal: Goal, sharpness: float = 1.0):
        self.model, self.goal, self._sharpness = model, goal, sharpness
        self.blocks = BlockModel(model, PLAN_ERROR, samples)

    def problem(self, multiplier: np.ndarray) -> PlanProblem:
        """The plan's problem from the baseline, without any dose."""
        problem = PlanProblem(self.model, self.blocks, self.goal,
                              self.blocks.modal(np.zeros(len(self.model.A))),
                              np.zeros(int(self.model.outputs.target.sum())), multiplier)
        problem.sharpness = self._sharpness
        return problem

    def improve(self, theta, multiplier, fraction: float | None, milestone: int = 0):
        """(coverage, theta, multipliers) after `ROUND` evaluations; `fraction`, `milestone`: see
        `PlanProblem.favour`."""
        problem = self.problem(multiplier)
        if fraction is not None:
            early, final = problem.doses(theta ** 2, milestone)
            problem.favour(fraction, early if milestone else final, milestone)
        search = lbfgs(problem, theta)
        for _ in range(ROUND):
            theta = next(search, theta)
        problem.update_multipliers(theta ** 2)
        reached = problem.coverage(problem.doses(theta ** 2)[1])
        log.info("plan of %.0f s: %.1f %% of the target, limits exceeded by %.2f K",
                 len(theta) * self.blocks.interval, 100 * reached,
                 problem.predict(theta ** 2)[1].max(initial=0.0))
        return reached, theta, problem.multiplier

    def lasting(self, share: np.ndarray, length: int) -> np.ndarray:
        """(length, n_foci) uneven powers, on average what the limits allow in steady state when the
        foci have these shares of it (n_foci,)."""
        return lasting_power(self.model, self.blocks, self.goal, share) * share * uneven(
            length, len(share))


def lasting_power(model: DiscreteModel, blocks: BlockModel, goal: Goal, share) -> float:
    """Power that the limits allow in steady state, with these shares (n_foci,) per focus [W]."""
    steady = (blocks.input @ share / (1 - blocks.rate)).astype(np.complex64)
    rise = blocks.outputs(steady[:, None])[model.outputs.constraint, 0]
    return max(0.0, float(np.min(goal.room / np.maximum(rise, 1e-9), where=goal.hard,
                                 initial=goal.max_power)))


def uneven(length: int, n_foci: int) -> np.ndarray:
    """(length, n_foci) random factors with the mean 1, the same ones every time."""
    noise = np.random.default_rng(0).standard_normal((length, n_foci))
    return np.exp(UNEVEN * noise - UNEVEN ** 2 / 2)


def _change(fraction: float, reached: float) -> float:
    """Factor for a plan's length: near the goal 1 % more treats some 0.5 % more."""
    if reached > (1 + fraction) / 2 + 0.01:
        return 0.5
    return float(np.clip(1 + 2 * (fraction - reached), 0.75, 1.25))


def stretched(theta, multiplier, length: int, coast: int):
    """Plan and multipliers over another number of blocks, cooling included."""
    source = ((np.arange(length) + 0.5) * len(theta) / length).astype(int)
    cooling = multiplier.shape[1] - len(theta)
    after = len(theta) + ((np.arange(coast) + 0.5) * cooling / coast).astype(int)
    # The more blocks there are, the less each of them counts.
    return theta[source], multiplier[:, np.append(source, after)] * (len(theta) / length)


def lengthened(theta, multiplier, coast: int, power: np.ndarray):
    """Plan and multipliers with blocks of these powers (., n_foci) put to the end."""
    length = len(theta) + len(power)
    return (np.vstack([theta, np.sqrt(power)]),
            np.pad(multiplier, ((0, 0), (0, length + coast - multiplier.shape[1])), "edge"))

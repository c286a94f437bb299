"""Open-loop plans: powers over the rest of the treatment that bring in the missing dose.

A plan is a row of powers u_i (n_foci,) per block of constant power, i = 0 .. N-1, followed by
cooling with the power off. With T the predicted temperatures at the ends of the blocks, D the dose
at the end and D* the one that is planned for, it minimises

    sum_v w_v softplus(b log2(D* / D_v)) / b                undelivered dose, in doublings
    + rho / 2 sum_(c,i) max(0, T_ci - limit_c + m_ci / rho)^2     limits, augmented Lagrangian
    + penalties above the target's cap and above full power.

log2 D_v is a log-sum-exp of temperatures that are linear in u, so the gradient costs one
simulation backward in time. u = theta^2 keeps powers positive. theta is improved by L-BFGS, the
multipliers m by the method of multipliers (Nocedal and Wright, Numerical Optimization, 2nd ed.,
chapters 7 and 17).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from hifuflow.job import log

from .dose import BREAK, SECONDS_PER_MINUTE
from .prediction import DiscreteModel, ModalModel

MEMORY = 20
PENALTY = 0.02  # rho [1/K2], per constraint point and block
CAP_PENALTY, POWER_PENALTY = 1e-3, 1e-2
HOTTEST_EXCESS = 30.0  # dose rates are cut off here [K above 43 degC]
LEAST_DOSE = 1e-9
PLAN_ERROR = 0.2  # bound of the planning model's truncation [K/W]; it is pessimistic by far
SHARPEST = 4.0
SPARE, REST = 0.01, 0.05  # fraction aimed at beyond the wanted one; weight of the other voxels
FIRST_GUESS_S, LEAST = 800.0, 2  # length of a first plan, and its least number of blocks
COARSE_EXCESS = 0.03  # what a coarse plan reaches more than the fine one made from it
START_POWER = 0.15  # of full power, spread over all foci
ROUND = 300  # evaluations


@dataclass(frozen=True)
class Goal:
    """What all plans of a treatment have in common.

    Attributes
    ----------
    dose : planned dose [CEM43 min].  room : (n_c,) limits above baseline less margins [K].
    cap : highest temperature of the target [degC].  max_power : [W].
    coast : blocks with the power off that follow a plan and within which limits hold too.
    """

    dose: float
    room: np.ndarray
    cap: float
    max_power: float
    coast: int


class PlanProblem:
    """The function that a plan minimises, from one start.

    Parameters
    ----------
    model, blocks : the reduced model, and its modal form from block to block.
    goal : see `Goal`.  start : modal state.  dose : (n_v,) dose so far.
    multiplier : (n_c, N + coast) of the limits.

    Attributes
    ----------
    weight : (n_v,) of each voxel.  sharpness : b.
    """

    def __init__(self, model: DiscreteModel, blocks: ModalModel, goal: Goal, start: np.ndarray,
                 dose: np.ndarray, multiplier: np.ndarray):
        outputs = model.outputs
        self._blocks, self._goal, self._start = blocks, goal, start
        self._dose = dose.astype(np.float32) + np.float32(LEAST_DOSE)
        self.multiplier = multiplier
        self._constraint, self._target = (np.flatnonzero(rows) for rows in
                                          (outputs.constraint, outputs.target))
        volume = outputs.volume[self._target]
        self._volume = (volume / volume.sum()).astype(np.float32)
        self.weight, self.sharpness = self._volume, 1.0
        self._baseline = outputs.baseline[self._target].astype(np.float32)[:, None]
        self._room = goal.room.astype(np.float32)[:, None]

    def predict(self, power: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Target temperatures [degC], excess of the constraint points [K], modal states, at the
        ends of the blocks of plan and cooling (., N + coast)."""
        off = np.zeros((self._goal.coast, power.shape[1]))
        states = self._blocks.simulate(self._start, np.vstack([power, off]))
        rise = self._blocks.outputs(states)
        return rise[self._target] + self._baseline, rise[self._constraint] - self._room, states

    def block_dose(self, temperature: np.ndarray) -> np.ndarray:
        """Dose of each block [CEM43 min]; R = 0.5 throughout, to keep it differentiable."""
        excess = np.minimum(temperature - np.float32(BREAK), np.float32(HOTTEST_EXCESS))
        return np.exp2(excess) * np.float32(self._blocks.interval / SECONDS_PER_MINUTE)

    def final_dose(self, power: np.ndarray) -> np.ndarray:
        """(n_v,) dose after plan and cooling [CEM43 min]."""
        return self._dose + self.block_dose(self.predict(power)[0]).sum(axis=1)

    def coverage(self, power: np.ndarray) -> float:
        """Fraction of the target that has the planned dose after plan and cooling."""
        return float(self._volume[self.final_dose(power) >= self._goal.dose].sum())

    def favour(self, fraction: float, power: np.ndarray) -> None:
        """Give all but the most heated `fraction` of the target little weight."""
        order = np.argsort(-self.final_dose(power))
        behind = order[np.cumsum(self._volume[order]) > fraction + SPARE]
        self.weight = self._volume.copy()
        self.weight[behind] *= REST

    def need(self, power: np.ndarray) -> np.ndarray:
        """(n_foci,) shares, by how much each focus heats what a plan leaves without the dose."""
        missing = self._volume * (self.final_dose(power) < self._goal.dose)
        heating = self._blocks.outputs(self._blocks.input, self._target)
        share = (missing @ heating).clip(0) ** 2 + 1e-9
        return share / share.sum()

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient at theta (N, n_foci)."""
        goal, power = self._goal, theta ** 2
        temperature, excess, _ = self.predict(power)
        doses = self.block_dose(temperature)
        dose = self._dose + doses.sum(axis=1)
        missing = self.sharpness * np.log2(goal.dose / dose)
        slope = self.weight / (1 + np.exp(np.minimum(-missing, 80)))
        over = np.maximum(excess + self.multiplier / PENALTY, 0)
        hot = np.maximum(temperature - np.float32(goal.cap), 0)
        surplus = np.maximum(power.sum(axis=1) - goal.max_power, 0)
        value = float(self.weight @ np.logaddexp(0, missing)) / self.sharpness
        value += (PENALTY * np.vdot(over, over) + CAP_PENALTY * np.vdot(hot, hot)
                  + POWER_PENALTY * surplus @ surplus) / 2
        sensitivity = np.empty((len(excess) + len(doses), doses.shape[1]), dtype=np.float32)
        sensitivity[self._constraint] = PENALTY * over
        sensitivity[self._target] = CAP_PENALTY * hot - (slope / dose)[:, None] * doses
        gradient = self._blocks.adjoint(sensitivity)[:len(theta)] + POWER_PENALTY * surplus[:, None]
        return float(value), 2 * theta * gradient

    def update_multipliers(self, power: np.ndarray) -> None:
        """One step of the method of multipliers."""
        self.multiplier = np.maximum(self.multiplier + PENALTY * self.predict(power)[1], 0)


def first_plan(model: DiscreteModel, samples: int, goal: Goal, fraction: float, rounds: int,
               longest: int) -> tuple[np.ndarray, np.ndarray]:
    """A plan from the baseline that is as short as it can be to reach a fraction of the target.

    First in blocks twice as long, where its length is found with little work.

    Parameters
    ----------
    samples : of a block.  rounds : of improvement at each of the two resolutions.
    longest : most blocks.

    Returns
    -------
    theta (N, n_foci), multipliers (n_c, N + coast).
    """
    n_foci, outputs = len(model.foci), model.outputs
    dose = np.zeros(int(outputs.target.sum()))
    theta = multiplier = None
    for fine in (False, True):
        blocks = ModalModel(model, PLAN_ERROR, samples if fine else 2 * samples)
        most = longest if fine else longest // 2
        coast = goal.coast if fine else math.ceil(goal.coast / 2)
        if theta is None:
            length = max(LEAST, min(most, int(FIRST_GUESS_S / blocks.interval)))
            # Unequal powers, so that foci can take turns.
            theta = (math.sqrt(START_POWER * goal.max_power / n_foci)
                     * np.random.default_rng(0).uniform(0.7, 1.2, (length, n_foci)))
            multiplier = np.zeros((len(goal.room), length + coast), dtype=np.float32)
        else:
            theta, multiplier = stretched(theta, multiplier, 2 * len(theta), coast)
        start = blocks.modal(np.zeros(len(model.A)))
        for turn in range(rounds):
            problem = PlanProblem(model, blocks, replace(goal, coast=coast), start, dose,
                                  multiplier)
            if fine:
                problem.sharpness = SHARPEST
                problem.favour(fraction, theta ** 2)
            theta = improved(problem, theta, ROUND)
            problem.update_multipliers(theta ** 2)
            reached, multiplier = problem.coverage(theta ** 2), problem.multiplier
            log.info("plan of %.0f s: %.1f %% of the target, limits exceeded by %.2f K",
                     len(theta) * blocks.interval, 100 * reached,
                     problem.predict(theta ** 2)[1].max(initial=0.0))
            if not fine and turn < rounds - 1:
                change = _change(fraction + COARSE_EXCESS, reached)
                length = max(LEAST, min(most, round(len(theta) * change)))
                theta, multiplier = stretched(theta, multiplier, length, coast)
    return theta, multiplier


def _change(fraction: float, reached: float) -> float:
    """By how much to change a plan's length: near the goal 1 % more treats some 0.5 % more."""
    if reached > (1 + fraction) / 2 + 0.01:
        return 0.5
    return float(np.clip(1 + 2 * (fraction - reached), 0.75, 1.25))


def improved(problem: PlanProblem, theta: np.ndarray, evaluations: int) -> np.ndarray:
    """The plan after so many evaluations of `lbfgs`."""
    search = lbfgs(problem, theta)
    for _ in range(evaluations):
        theta = next(search, theta)
    return theta


def stretched(theta, multiplier, length: int, coast: int):
    """A plan and its multipliers over another number of blocks, cooling included."""
    source = ((np.arange(length) + 0.5) * len(theta) / length).astype(int)
    cooling = multiplier.shape[1] - len(theta)
    after = len(theta) + ((np.arange(coast) + 0.5) * cooling / coast).astype(int)
    # The more blocks there are, the less each of them counts.
    return theta[source], multiplier[:, np.append(source, after)] * (len(theta) / length)


def lengthened(theta, multiplier, length: int, goal: Goal, share: np.ndarray):
    """A plan with blocks of low power put to its end, `share` (n_foci,) of it at each focus."""
    extra = length - len(theta)
    row = np.sqrt(START_POWER * goal.max_power * share)
    return (np.vstack([theta, np.tile(row, (extra, 1))]),
            np.pad(multiplier, ((0, 0), (0, length + goal.coast - multiplier.shape[1])), "edge"))


def lbfgs(function, start: np.ndarray):
    """Generator of improving points; every `next` costs one evaluation of `function`.

    Backtracking line search on sufficient decrease; steps without positive curvature are not
    remembered. Yields the best point so far, and ends when no step improves it.
    """
    point, (value, gradient) = start, function(start)
    pairs: deque = deque(maxlen=MEMORY)
    yield point
    while True:
        direction = -_apply_inverse(pairs, gradient)
        slope = np.vdot(direction, gradient)
        if not slope < 0:
            return
        step = 1.0 if pairs else min(1.0, 0.1 / np.sqrt(-slope))
        while True:
            trial = point + step * direction
            found, gradient_there = function(trial)
            if found <= value + 1e-4 * step * slope:
                break
            step *= 0.4
            if step < 1e-6:
                return
            yield point
        move, change = trial - point, gradient_there - gradient
        if np.vdot(move, change) > 1e-10 * np.vdot(change, change):
            pairs.append((move, change, 1 / np.vdot(move, change)))
        point, value, gradient = trial, found, gradient_there
        yield point


def _apply_inverse(pairs, gradient: np.ndarray) -> np.ndarray:
    """Two-loop recursion: the L-BFGS inverse Hessian times the gradient."""
    result, factors = gradient.copy(), []
    for move, change, scale in reversed(pairs):
        factors.append(scale * np.vdot(move, result))
        result -= factors[-1] * change
    if pairs:
        move, change, _ = pairs[-1]
        result *= np.vdot(move, change) / np.vdot(change, change)
    for (move, change, scale), factor in zip(pairs, reversed(factors), strict=True):
        result += (factor - scale * np.vdot(change, result)) * move
    return result

"""Open-loop plans: powers over the rest of the treatment that deliver the missing dose.

A plan is a row of powers u_i (n_foci,) per block of constant power, i = 0 .. N-1, followed by
cooling with the power off. With T the predicted temperatures at the ends of the blocks, D the dose
at the end and D* the one that is planned for, it minimises

    sum_v w_v softplus(b log2(D* / D_v)) / b                undelivered dose, in doublings
    + the same of the favoured voxels at a time before the end
    + rho / 2 sum_(c,i) max(0, T_ci - limit_c + m_ci / rho)^2     limits, augmented Lagrangian
    + penalties above the target's cap and above full power.

The temperature is linear in u, and taken as linear in time between the ends of the blocks, so that
a block with the temperatures a and b [K above 43 degC] adds h (2^b - 2^a) / ((b - a) ln 2) to the
dose; the gradient costs one simulation backward in time. u = theta^2 keeps powers positive. theta
is improved by L-BFGS, the multipliers m by the method of multipliers (Nocedal and Wright, Numerical
Optimization, 2nd ed., chapters 7 and 17).

The problem is not convex: a voxel's dose comes from the few blocks in which it is hottest, and the
search only sharpens the pulses that a plan begins with. Plans therefore begin with random powers,
unequal enough that most foci have a few blocks of their own, and on average what the limits allow
in steady state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hifuflow.controller.dose import BREAK, SECONDS_PER_MINUTE
from hifuflow.controller.prediction import BlockModel, DiscreteModel

PENALTY = 0.02  # rho [1/K2], per constraint point and block
CAP_PENALTY, POWER_PENALTY = 1e-3, 1e-2
HOTTEST_EXCESS = 30.0  # dose rates are cut off here [K above 43 degC]
LEAST_DOSE = 1e-9
PLAN_ERROR = 1.0  # bound of the planning model's truncation [K/W]; it is pessimistic by far
FLAT = 0.03  # change in a block [K] below which its dose rate is taken as the mean of its ends
SHARPEST = 4.0
SPARE, REST = 0.01, 0.05  # fraction aimed at beyond the wanted one; weight of the other voxels


@dataclass(frozen=True)
class Goal:
    """Goal of a treatment's plans: what all of them have in common.

    Attributes
    ----------
    dose : planned dose [CEM43 min].  room : (n_c,) limits above baseline less margins [K].
    hard : (n_c,) bool, limits that must be kept; what exceeds the others only costs.
    cap : highest temperature of the target [degC].  max_power : [W].
    coast : blocks with the power off that follow a plan and within which limits hold too.
    """

    dose: float
    room: np.ndarray
    hard: np.ndarray
    cap: float
    max_power: float
    coast: int


class PlanProblem:
    """Objective function of a plan from one start, with its gradient.

    Parameters
    ----------
    model, blocks : the reduced model, and its modal form from block to block.
    goal : see `Goal`.  start : modal state.  dose : (n_v,) dose so far.
    multiplier : (n_c, N + coast) of the limits.

    Attributes
    ----------
    weight : (n_v,) of each voxel.  sharpness : b.
    dose : (n_v,) so far.
    early : (n_v,) weight of each voxel at the end of block `milestone` (0: at no such time).
    """

    def __init__(self, model: DiscreteModel, blocks: BlockModel, goal: Goal, start: np.ndarray,
                 dose: np.ndarray, multiplier: np.ndarray):
        outputs = model.outputs
        self._blocks, self._goal, self._start = blocks, goal, start
        self.dose = dose.astype(np.float32) + np.float32(LEAST_DOSE)
        self.multiplier = multiplier
        self._constraint, self._target = (np.flatnonzero(rows) for rows in
                                          (outputs.constraint, outputs.target))
        volume = outputs.volume[self._target]
        self._volume = (volume / volume.sum()).astype(np.float32)
        self.weight, self.sharpness = self._volume, 1.0
        self.early, self.milestone = np.zeros_like(self._volume), 0
        self._baseline = outputs.baseline[self._target].astype(np.float32)[:, None]
        self._room = goal.room.astype(np.float32)[:, None]
        self._first = self._excess(blocks.outputs(start[:, None])[self._target])

    def predict(self, power: np.ndarray, coast: int | None = None):
        """Target temperatures [degC], excess of the constraint points [K], modal states, at the
        ends of the blocks of plan and cooling (., N + coast); by default as long as the goal says.
        """
        off = np.zeros((self._goal.coast if coast is None else coast, power.shape[1]))
        states = self._blocks.simulate(self._start, np.vstack([power, off]))
        rise = self._blocks.outputs(states)
        return rise[self._target] + self._baseline, rise[self._constraint] - self._room, states

    def block_dose(self, temperature: np.ndarray) -> np.ndarray:
        """(n_v, N + coast) dose of each block [CEM43 min]; R = 0.5 throughout, to keep it
        differentiable."""
        return self._dose_and_slopes(temperature)[0]

    def _excess(self, rise: np.ndarray) -> np.ndarray:
        """Temperatures above 43 degC of rises above the baseline [K], cut off at the highest."""
        return np.minimum(rise + (self._baseline - np.float32(BREAK)), np.float32(HOTTEST_EXCESS))

    def _dose_and_slopes(self, temperature: np.ndarray):
        """Dose of each block, and its derivatives by the temperatures at its two ends."""
        excess = np.hstack([self._first, self._excess(temperature - self._baseline)])
        rate = np.exp2(excess) * np.float32(self._blocks.interval / SECONDS_PER_MINUTE)
        before, after, change = rate[:, :-1], rate[:, 1:], np.diff(excess, axis=1)
        flat = np.abs(change) < FLAT
        change[flat] = 1.0
        dose = (after - before) / (change * np.float32(math.log(2)))
        np.copyto(dose, (before + after) / 2, where=flat)
        by_before, by_after = (dose - before) / change, (after - dose) / change
        slope = np.float32(math.log(2) / 2)
        np.copyto(by_before, slope * before, where=flat)
        np.copyto(by_after, slope * after, where=flat)
        return dose, by_before, by_after

    def doses(self, power: np.ndarray, milestone: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(n_v,) doses at the end of a block, and after plan and cooling [CEM43 min]."""
        doses = self.block_dose(self.predict(power)[0])
        early = self.dose + doses[:, :milestone].sum(axis=1)
        return early, early + doses[:, milestone:].sum(axis=1)

    def coverage(self, dose: np.ndarray) -> float:
        """Fraction of the target that has the planned dose."""
        return float(self._volume[dose >= self._goal.dose].sum())

    def favour(self, fraction: float, dose: np.ndarray, milestone: int = 0) -> None:
        """Give all but the `fraction` of the target with the highest doses (n_v,) little weight:
        at the end of the block `milestone` if there is one, and else at the end of the plan."""
        order = np.argsort(-dose)
        behind = order[np.cumsum(self._volume[order]) > fraction + SPARE]
        weight = self._volume.copy()
        weight[behind] *= REST
        if milestone:
            self.early, self.milestone = weight, milestone
        else:
            self.weight = weight

    def focus_shares(self, dose: np.ndarray) -> np.ndarray:
        """(n_foci,) share of the power per focus, in proportion to the square of how much it heats
        voxels whose dose (n_v,) is too low."""
        missing = self._volume * (dose < self._goal.dose)
        heating = self._blocks.outputs(self._blocks.input)[self._target]
        share = (missing @ heating).clip(0) ** 2 + 1e-9
        return share / share.sum()

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient at theta (N, n_foci)."""
        goal, power = self._goal, theta ** 2
        temperature, excess, _ = self.predict(power)
        doses, by_before, by_after = self._dose_and_slopes(temperature)
        early = self.dose + doses[:, :self.milestone].sum(axis=1)
        value, need = self._missing(early + doses[:, self.milestone:].sum(axis=1), self.weight)
        for part in (by_before, by_after):
            part *= need[:, None]
        if self.milestone:
            value_early, need_early = self._missing(early, self.early)
            value += value_early
            more = (1 + need_early / need)[:, None]
            by_before[:, :self.milestone] *= more
            by_after[:, :self.milestone] *= more
        by_after[:, :-1] += by_before[:, 1:]
        over = np.maximum(excess + self.multiplier / PENALTY, 0)
        hot = np.maximum(temperature - np.float32(goal.cap), 0)
        surplus = np.maximum(power.sum(axis=1) - goal.max_power, 0)
        value += (PENALTY * np.vdot(over, over) + CAP_PENALTY * np.vdot(hot, hot)
                  + POWER_PENALTY * surplus @ surplus) / 2
        sensitivity = np.empty((len(excess) + len(doses), doses.shape[1]), dtype=np.float32)
        sensitivity[self._constraint] = PENALTY * over
        sensitivity[self._target] = CAP_PENALTY * hot - by_after
        gradient = self._blocks.adjoint(sensitivity)[:len(theta)] + POWER_PENALTY * surplus[:, None]
        return float(value), 2 * theta * gradient

    def _missing(self, dose: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
        """Undelivered dose in doublings, weighted, and (n_v,) its derivatives by the dose times
        -1."""
        missing = self.sharpness * np.log2(np.float32(self._goal.dose) / dose)
        slope = weight / (1 + np.exp(np.minimum(-missing, 20)))  # never denormal
        return (float(weight @ np.logaddexp(0, missing)) / self.sharpness,
                (slope / (dose * np.float32(math.log(2)))).astype(np.float32))

    def update_multipliers(self, power: np.ndarray) -> None:
        """One step of the method of multipliers."""
        grown = np.maximum(self.multiplier + PENALTY * self.predict(power)[1], 0)
        self.multiplier = grown * self._goal.hard[:, None]

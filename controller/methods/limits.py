"""Limits of temperature and dose: how much of a planned power they allow now, whatever follows.

A power is allowed when, with the power off after the sample, every constraint point stays within
its limit at all later times (the response to a pulse reaches it minutes later) and no target voxel
exceeds its cap. From an allowed power, power off is always allowed next.

A limit of dose becomes one of temperature: what is left of the dose may be spent within `SPEND_S`.
As that shrinks with what is spent, the limit is approached and never crossed. Soft limits do not
count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from hifuflow.controller.dose import SECONDS_PER_MINUTE, temperature_of_rate
from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.prediction import BlockModel, DiscreteModel
from hifuflow.errors import InputError, NumericalError

LIMIT_ERROR = 5e-4  # bound of the truncation that the limits are judged with [K/W]
SPEND_S = 120.0  # in which what is left of a point's dose may be spent
# Pulse responses are looked through for their last rise, on a coarse grid, until the slowest mode
# has decayed to `LEFT`. A rise below `FLAT` of the largest response of its point is none.
GRID, LEFT, FLAT = 1.25, 1e-2, 1e-4
EVERY = 300  # so many samples are judged one by one, later ones at times that are 1 % apart
CUTS = 8  # linear programs in one decision
MOST_ROWS = 300  # that one cut adds
SLACK = 0.2  # K by which a voxel that is at its cap may still be heated, e.g. from far away
TOLERANCE = 1e-4  # K


@dataclass(frozen=True)
class Margins:
    """Margins that are kept from the limits of constraint points.

    Attributes
    ----------
    least : distance from the limits in any case [K].
    confidence : further distance, in standard deviations of the estimate.
    heating : relative margin on the predicted heating by a sample: 0.1 counts a tenth more.
    """

    least: float
    confidence: float
    heating: float


class Limits:
    """Limits of a treatment: they cut a planned power down to what is allowed.

    The most of the planned power that keeps the limits: max sum_j p_j with 0 <= p <= planned,
    sum p <= full power, every constraint point within its limit at every later sample, and every
    voxel below the cap at the end of this one, with foci that heat as much more than the model says
    as is estimated. These are more rows than a linear program (HiGHS) should have, and few of them
    bind: it is solved with those that the planned power violates, each point at its worst sample,
    and again with those that its solution violates, until there are none. What `CUTS` programs
    leave is scaled away: no focus cools anything, so less of all power is allowed if all of it is.

    Points are judged up to the sample at which the response to a pulse rises last anywhere. All
    that was given so far only cools after that.

    Parameters
    ----------
    model : the reduced model.  max_power : full power [W].
    cap : highest temperature of the target [degC].  margins : see `Margins`.
    error : allowed error bound of the model's truncation [K/W].

    Attributes
    ----------
    samples : (K,) samples from now on at whose ends the points are judged.

    Raises
    ------
    InputError : the margins leave no room below a limit even before anything is heated.
    """

    def __init__(self, model: DiscreteModel, max_power: float, cap: float, margins: Margins,
                 error: float = LIMIT_ERROR):
        self._modal = modal = BlockModel(model, error)
        self._max_power, self._margins = max_power, margins
        self._outputs = outputs = model.outputs
        self._constraint, self._target = (np.flatnonzero(rows) for rows in
                                          (outputs.constraint, outputs.target))
        self._cap, self._limit = cap, outputs.hard_limit[self._constraint]
        self._dose_limit = np.where(outputs.soft, np.nan, outputs.dose_limit)[self._constraint]
        self.truncation = modal.error * max_power
        self._points, self._voxels = modal.part(self._constraint), modal.part(self._target)
        self._hot = self._voxels.outputs(modal.input)  # (n_v, n_foci) [K/W] at the sample's end
        self.samples = judged_samples(last_rise(self._points))
        # What a state leaves in each mode after so many samples.
        self._decay = np.column_stack([modal.decay(count - 1) for count in self.samples])
        self._check_room()

    def _check_room(self) -> None:
        """Refuse margins that no treatment could keep: not even one without any power."""
        room = self.temperature(None) - self._outputs.baseline[self._constraint]
        if not room.size:
            return
        narrowest, least = room.min(), self._margins.least
        if least + self.truncation < narrowest:
            return
        said = f"the limits leave {narrowest:.3g} K above the temperature before the treatment"
        if self.truncation < narrowest:
            raise InputError(f"{said}, less than the margins ({self.truncation:.3g} K are for what "
                             "the reduced model leaves out)", key="margin_k", value=least,
                             allowed=f"below {narrowest - self.truncation:.3g}")
        raise InputError(f"{said}, and what the reduced model leaves out may be "
                         f"{self.truncation:.3g} K at full power: no power could be allowed",
                         key="reduction.order", allowed="more states")

    def allowed(self, planned: np.ndarray, estimate: Estimate) -> np.ndarray:
        """(n_foci,) power of this sample [W], at most as planned (n_foci,) at each focus.

        Raises
        ------
        NumericalError
            if the solver finds no solution.
        """
        used = np.flatnonzero(planned > 0)
        result = np.zeros_like(planned, dtype=float)
        if not len(used):
            return result
        heating = self._heating_by(used, estimate)
        if (heating.room <= 0).any():
            return result
        planned = planned[used]
        # What the whole plan leaves within its limit, every part of it does.
        heating = heating.exceeded(planned)
        rows, rooms = np.zeros((0, len(used))), np.zeros(0)
        power = planned * min(1.0, self._max_power / planned.sum())
        for _ in range(CUTS):
            more, more_rooms = heating.violated(power)
            if not len(more):
                break
            rows, rooms = np.vstack([rows, more]), np.append(rooms, more_rooms)
            power = _most_of(planned, rows, rooms, self._max_power)
        else:
            power = power / heating.worst(power)
        result[used] = power
        return result

    def margin(self, estimate: Estimate) -> np.ndarray:
        """(n_c,) distance to keep from the limits [K]: the least one, what the truncation may hide,
        and standard deviations of the estimate."""
        return (self._margins.least + self.truncation
                + self._margins.confidence * estimate.constraint_deviation)

    def temperature(self, dose: np.ndarray | None, duration: float = SPEND_S) -> np.ndarray:
        """(n_c,) highest temperature [degC] that points with a dose (n_c,) [CEM43 min] may have for
        the duration [s]; infinite where the limit is soft."""
        limited = np.flatnonzero(np.isfinite(self._dose_limit))
        highest = self._limit.copy()
        if len(limited):
            left = self._dose_limit[limited] - (0.0 if dose is None else dose[limited])
            lasting = temperature_of_rate(left * SECONDS_PER_MINUTE / duration)
            highest[limited] = np.minimum(highest[limited], lasting)
        return highest

    def room(self, dose: np.ndarray | None, duration: float) -> np.ndarray:
        """(n_c,) what plans may heat the points above their baseline [K]: `temperature`, and soft
        limits too."""
        outputs, points = self._outputs, self._constraint
        highest = self.temperature(dose, duration)
        return np.where(outputs.soft[points], outputs.limit[points], highest) \
            - outputs.baseline[points]

    def _heating_by(self, used: np.ndarray, estimate: Estimate) -> _Heating:
        """What power at the foci in use heats in this sample, and how far it may."""
        gain = np.ones(len(used)) if estimate.gain is None else estimate.gain[used]
        more = 1 + self._margins.heating
        return _Heating(self._points, self._decay, more * self._modal.input[:, used] * gain,
                        *self._absorbed(used, gain, estimate), self._hot[:, used] * gain,
                        *self._rooms(estimate))

    def _rooms(self, estimate: Estimate) -> tuple[np.ndarray, np.ndarray]:
        """Rises that are left with the power off, by the model's heating [K]: (n_c, K) of every
        point at every sample, and (n_v,) of every voxel."""
        state = self._modal.modal(estimate.state)
        after = (self._modal.rate * state)[:, None]
        now = self._points.outputs(state[:, None])[:, 0]
        rest = (self.temperature(estimate.constraint_dose) - self.margin(estimate)
                - estimate.constraint_temperature) / estimate.constraint_gain + now
        change = self._voxels.outputs(after - state[:, None])[:, 0]
        cold = self._cap - estimate.target_temperature - change
        return (rest[:, None] - self._points.outputs(after * self._decay),
                np.maximum(cold, SLACK))

    def _absorbed(self, used, gain, estimate: Estimate) -> tuple[np.ndarray, np.ndarray]:
        """(n_c, n_used) rise of the points by what they absorb beyond the model [K/W], and (K,) how
        it fades."""
        if estimate.absorbed is None:
            return np.zeros((len(self._limit), len(used))), np.zeros(len(self.samples))
        rise = estimate.absorbed.rise[:, used] * gain
        return (rise / np.reshape(estimate.constraint_gain, (-1, 1)),
                estimate.absorbed.left ** (self.samples - 1.0))


@dataclass(frozen=True)
class _Heating:
    """Rises by a sample's power at the foci in use, of points at K samples and of voxels.

    Attributes
    ----------
    points : model of the n_c points.  decay : (., K) what is left of each mode at the samples.
    inputs : (., n_used) modes after the sample [1/W].
    absorbed, fading : (n_c, n_used) [K/W] and (K,), what the points rise beyond that.
    hot : (n_v, n_used) rise of the voxels [K/W].  room, cold : (n_c, K), (n_v,) what is left [K].
    """

    points: BlockModel
    decay: np.ndarray
    inputs: np.ndarray
    absorbed: np.ndarray
    fading: np.ndarray
    hot: np.ndarray
    room: np.ndarray
    cold: np.ndarray

    def exceeded(self, power: np.ndarray) -> _Heating:
        """The same of those points and voxels only that a power (n_used,) brings above a limit."""
        point = np.flatnonzero((self._rise(power) - self.room > TOLERANCE).any(axis=1))
        voxel = np.flatnonzero(self.hot @ power - self.cold > TOLERANCE)
        return replace(self, points=self.points.part(point), absorbed=self.absorbed[point],
                       room=self.room[point], hot=self.hot[voxel], cold=self.cold[voxel])

    def violated(self, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n, n_used) [K/W] that a power violates, and their rooms [K]: each point at its
        worst sample, and voxels."""
        excess = self._rise(power) - self.room
        sample, point = excess.argmax(axis=1), np.arange(len(excess))
        chosen = _worst(excess[point, sample], self.room[point, sample])
        sample = sample[chosen]
        rows = (self.points.heated(chosen, self.decay[:, sample], self.inputs)
                + self.absorbed[chosen] * self.fading[sample, None])
        hot = _worst(self.hot @ power - self.cold, self.cold)
        return (np.vstack([rows, self.hot[hot]]),
                np.append(self.room[chosen, sample], self.cold[hot]))

    def worst(self, power: np.ndarray) -> float:
        """Factor by which the power is too high; 1 if it is not."""
        return max(np.max(self._rise(power) / self.room, initial=1.0),
                   np.max(self.hot @ power / self.cold, initial=1.0))

    def _rise(self, power: np.ndarray) -> np.ndarray:
        """(n_c, K) rise of every point at every sample [K]."""
        state = (self.inputs @ power).astype(np.complex64)
        return (self.points.outputs(state[:, None] * self.decay)
                + np.outer(self.absorbed @ power, self.fading))


def last_rise(points: BlockModel) -> int:
    """Samples after the beginning of a pulse from which on all outputs only fall."""
    slowest = np.abs(points.rate).max(initial=0.0)
    end = math.log(LEFT) / math.log(slowest) if 0 < slowest < 1 else 1.0
    counts = [1]
    while counts[-1] < end:
        counts.append(max(counts[-1] + 1, round(GRID * counts[-1])))
    before, rises, largest = points.outputs(points.input), [], 0.0
    for count in counts[1:]:
        response = points.outputs(points.input * points.decay(count - 1)[:, None])
        largest = np.maximum(largest, np.maximum(before, response).max(axis=1, initial=0.0))
        rises.append((response - before).max(axis=1, initial=0.0))
        before = response
    rising = [number for number, rise in enumerate(rises) if (rise > FLAT * largest).any()]
    return counts[min(rising[-1] + 2, len(counts) - 1)] if rising else 1


def judged_samples(last: int) -> np.ndarray:
    """Every sample up to `EVERY`, and later ones up to the last 1 % apart."""
    later = np.geomspace(EVERY, last, 1 + math.ceil(math.log(max(last, EVERY) / EVERY) / 0.01))
    return np.unique(np.append(np.arange(1, min(last, EVERY) + 1),
                               later.round().astype(int)[later >= EVERY][1:]))


def _worst(excess: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Indices of the `MOST_ROWS` that are exceeded worst, by their room."""
    over = np.flatnonzero(excess > TOLERANCE)
    if len(over) > MOST_ROWS:
        over = over[np.argpartition(-excess[over] / room[over], MOST_ROWS)[:MOST_ROWS]]
    return over


def _most_of(planned: np.ndarray, rows: np.ndarray, room: np.ndarray,
             max_power: float) -> np.ndarray:
    """max sum(p) with 0 <= p <= planned, rows @ p <= room and sum(p) <= max_power."""
    result = linprog(-np.ones(len(planned)), np.vstack([rows, np.ones(len(planned))]),
                     np.append(room, max_power), bounds=np.column_stack(
                         [np.zeros(len(planned)), planned]), method="highs")
    if result.status != 0:
        raise NumericalError(f"linear program of the limits: {result.message}")
    return np.clip(result.x, 0.0, planned)

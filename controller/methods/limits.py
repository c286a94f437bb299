"""Limits of temperature and dose: how much of a planned power they allow now, whatever follows.

A power is allowed when, with the power off after the sample, every constraint point stays within
its limit at all later times (the response to a pulse reaches it minutes later) and no target voxel
exceeds its cap. From an allowed power, power off is always allowed next.

A limit of dose becomes one of temperature: what is left of the dose may be spent within `SPEND_S`.
As that shrinks with what is spent, the limit is approached and never crossed. Soft limits do not
count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from hifuflow.controller.dose import SECONDS_PER_MINUTE, temperature_of_rate
from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.prediction import BlockModel, DiscreteModel
from hifuflow.errors import NumericalError

LIMIT_ERROR = 5e-4  # bound of the truncation that the limits are judged with [K/W]
AHEAD_S = 600.0  # the response to a sample's heat is far past its peak by then
TIMES = 24
SPEND_S = 120.0  # in which what is left of a point's dose may be spent
MOST_ROWS = 300  # of a linear program
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
    sum p <= full power, and the rows of (constraint point, time) and (voxel) that the plan would
    violate, with foci that heat as much more than the model says as is estimated. No focus cools
    anything, so a row that all of the plan keeps is kept by every part of it, and one linear
    program (HiGHS) is enough; what its `MOST_ROWS` worst rows leave is scaled away.

    Parameters
    ----------
    model : the reduced model.  max_power : full power [W].
    cap : highest temperature of the target [degC].  margins : see `Margins`.
    error : allowed error bound of the model's truncation [K/W].
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
        last = max(2, round(AHEAD_S / model.interval))
        self.samples = np.unique(np.geomspace(1, last, TIMES).round().astype(int))
        # What a state leaves in each mode after so many samples.
        self._decay = np.column_stack([modal.decay(count - 1) for count in self.samples])
        self.truncation = modal.error * max_power
        # Temperatures [K/W] after a sample of each focus: of every point at every time, one row
        # each, and of the target's voxels at the end of the sample.
        points = modal.part(self._constraint)
        self._response = (1 + np.float32(margins.heating)) * np.concatenate(
            [points.outputs(modal.input * decay[:, None]) for decay in self._decay.T])
        self._heating = modal.part(self._target).outputs(modal.input)
        self._points, self._voxels = points, modal.part(self._target)

    def allowed(self, planned: np.ndarray, estimate: Estimate) -> np.ndarray:
        """(n_foci,) power of this sample [W], at most as planned (n_foci,) at each focus.

        Raises
        ------
        NumericalError
            if the solver finds no solution.
        """
        room, cold = self._rooms(estimate)
        used = np.flatnonzero(planned > 0)
        if not len(used) or (room <= 0).any():
            return np.zeros_like(planned)
        gain = np.ones_like(planned) if estimate.gain is None else estimate.gain
        power = planned[used] * min(1.0, self._max_power / max(planned.sum(), 1e-12))
        response, heating = (rows[:, used] * gain[used].astype(rows.dtype)
                             for rows in (self._response, self._heating))
        if estimate.absorbed:
            response += self._absorbed(estimate, gain, used)
        rows, rooms = _violated(response, room, power, MOST_ROWS)
        hot_rows, hot_rooms = _violated(heating, cold, power, MOST_ROWS)
        if len(rows) or len(hot_rows):
            power = _most_of(planned[used], np.vstack([rows, hot_rows]),
                             np.append(rooms, hot_rooms), self._max_power)
            worst = max(np.max(response @ power / room, initial=1.0),
                        np.max(heating @ power / cold, initial=1.0))
            power = power / worst
        result = np.zeros_like(planned)
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

    def _absorbed(self, estimate: Estimate, gain: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Rows to add to `_response`, for the foci in use: what a sample's power heats beyond it,
        and how that fades."""
        rise = estimate.absorbed.rise[:, used] * gain[used] / estimate.constraint_gain[:, None]
        fading = (estimate.absorbed.left ** (self.samples - 1.0)).astype(np.float32)
        return (fading[:, None, None] * rise.astype(np.float32)).reshape(-1, len(used))

    def _rooms(self, estimate: Estimate) -> tuple[np.ndarray, np.ndarray]:
        """Rises that are left with the power off, by the model's heating: of every (time, point),
        and of every voxel [K]."""
        state = self._modal.modal(estimate.state)
        after = (self._modal.rate * state)[:, None]
        now = self._points.outputs(state[:, None])[:, 0]
        free = self._points.outputs(after * self._decay)
        rest = (self.temperature(estimate.constraint_dose) - self.margin(estimate)
                - estimate.constraint_temperature) / estimate.constraint_gain + now
        change = self._voxels.outputs(after - state[:, None])[:, 0]
        cold = self._cap - estimate.target_temperature - change
        return (rest[:, None] - free).T.ravel(), np.maximum(cold, SLACK)


def _violated(rows, rooms, power, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The `most` rows (n, n_used) [K/W] that a power violates worst, and their rooms [K]."""
    excess = rows @ power.astype(rows.dtype) - rooms
    over = np.flatnonzero(excess > TOLERANCE)
    if len(over) > most:
        over = over[np.argpartition(-excess[over] / rooms[over], most)[:most]]
    return rows[over], rooms[over]


def _most_of(planned: np.ndarray, rows: np.ndarray, room: np.ndarray,
             max_power: float) -> np.ndarray:
    """max sum(p) with 0 <= p <= planned, rows @ p <= room and sum(p) <= max_power."""
    result = linprog(-np.ones(len(planned)), np.vstack([rows, np.ones(len(planned))]),
                     np.append(room, max_power), bounds=np.column_stack(
                         [np.zeros(len(planned)), planned]), method="highs")
    if result.status != 0:
        raise NumericalError(f"linear program of the limits: {result.message}")
    return np.clip(result.x, 0.0, planned)

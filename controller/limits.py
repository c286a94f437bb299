"""How much of a planned power the limits allow now, whatever comes after.

A power is allowed when, with the power off after the sample, every constraint point stays within
its limit at all later times (the response to a pulse reaches it minutes later) and no target voxel
exceeds its cap. From an allowed power, power off is always allowed next.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from hifuflow.errors import NumericalError

from .estimator import Estimate
from .prediction import DiscreteModel, ModalModel

AHEAD_S = 600.0  # the response to a sample's heat is far past its peak by then
PROGRAMS = 6
SLACK = 0.2  # K by which a voxel that is at its cap may still be heated, e.g. from far away


class Limits:
    """Cuts a planned power down to what is allowed.

    The most of the planned power that keeps the limits: max sum_j p_j with 0 <= p <= planned,
    sum p <= full power, and the rows of (constraint point, time) and (voxel) that the plan would
    violate; repeated with the rows that then are violated, until none is. Linear programs by HiGHS;
    after `PROGRAMS` of them what is left over is scaled away.

    Parameters
    ----------
    model : the reduced model.  error : allowed error bound of its truncation [K/W].
    cap : highest temperature of the target [degC].  max_power : full power [W].
    """

    def __init__(self, model: DiscreteModel, error: float, cap: float, max_power: float):
        self._modal = ModalModel(model, error)
        self._max_power = max_power
        outputs = model.outputs
        self._constraint, self._target = (np.flatnonzero(rows) for rows in
                                          (outputs.constraint, outputs.target))
        self._limit, self._cap = outputs.limit[self._constraint], cap
        last = max(2, round(AHEAD_S / model.interval))
        self.samples = np.unique(np.geomspace(1, last, 24).round().astype(int))
        # What a unit of power of this sample leaves in each mode after so many samples.
        self._decay = self._modal.rate[:, None] ** (self.samples - 1)
        self.truncation = self._modal.error * max_power

    def allowed(self, planned: np.ndarray, estimate: Estimate, margin: np.ndarray) -> np.ndarray:
        """(n_foci,) power of this sample [W], at most as planned at each focus.

        Parameters
        ----------
        margin : (n_c,) to keep from the limits [K].

        Raises
        ------
        NumericalError
            if the solver finds no solution.
        """
        modal, state = self._modal, self._modal.modal(estimate.state)
        now = modal.outputs(state[:, None])[:, 0]
        free = modal.outputs((modal.rate * state)[:, None] * self._decay, self._constraint)
        room = ((self._limit - margin - estimate.constraint_temperature
                 + now[self._constraint])[:, None] - free)
        cold = (self._cap - estimate.target_temperature + now[self._target]
                - modal.outputs((modal.rate * state)[:, None], self._target)[:, 0])
        if (room <= 0).any():
            return np.zeros_like(planned)
        power = planned * min(1.0, self._max_power / max(planned.sum(), 1e-12))
        rows, rooms = np.empty((0, len(planned))), np.empty(0)
        for _ in range(PROGRAMS):
            new_rows, new_rooms = self._violated(power, room, cold)
            if not len(new_rows):
                return power
            rows, rooms = np.vstack([rows, new_rows]), np.append(rooms, new_rooms)
            power = _most_of(planned, rows, rooms, self._max_power)
        new_rows, new_rooms = self._violated(power, room, cold)
        heat = new_rows @ power
        return power * np.min(new_rooms / heat, initial=1.0)

    def _violated(self, power, room, cold, most: int = 200, tolerance: float = 1e-4):
        """Rows (n, n_foci) [K/W] and rooms (n,) [K] that a power violates, the worst ones."""
        modal = self._modal
        heat = (modal.input @ power.astype(np.float32))[:, None]
        excess = modal.outputs(heat * self._decay, self._constraint) - room
        worst = np.argsort(-excess.max(axis=1))[:most]
        worst = worst[excess[worst].max(axis=1) > tolerance]
        times = excess[worst].argmax(axis=1)
        hot = modal.outputs(heat, self._target)[:, 0] - np.maximum(cold, SLACK)
        hottest = np.argsort(-hot)[:most]
        hottest = hottest[hot[hottest] > tolerance]
        rows = [modal.outputs(modal.input * self._decay[:, [time]], self._constraint[worst[times
                == time]]) for time in np.unique(times)]
        rooms = [room[worst[times == time], time] for time in np.unique(times)]
        rows.append(modal.outputs(modal.input, self._target[hottest]))
        rooms.append(np.maximum(cold[hottest], SLACK))
        return np.vstack(rows), np.concatenate(rooms)


def _most_of(planned: np.ndarray, rows: np.ndarray, room: np.ndarray,
             max_power: float) -> np.ndarray:
    """max sum(p) with 0 <= p <= planned, rows @ p <= room and sum(p) <= max_power."""
    used = np.flatnonzero(planned > 0)
    result = linprog(-np.ones(len(used)), np.vstack([rows[:, used], np.ones(len(used))]),
                     np.append(room, max_power), bounds=np.column_stack(
                         [np.zeros(len(used)), planned[used]]), method="highs")
    if result.status != 0:
        raise NumericalError(f"linear program of the limits: {result.message}")
    power = np.zeros_like(planned)
    power[used] = np.clip(result.x, 0.0, planned[used])
    return power

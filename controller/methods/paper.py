"""Focus selection with full power for as long as the constraints allow.

Rules of the reference paper, "Thermal Dose Controller" (its numbering):

1a  a new focus when the dose is reached at the current one;
1b  or when the current one would need less than full power at the next sample;
2a  candidates are the untreated foci whose highest power by equation (6),
        T_max = (C A) x(k|k) + (C B) u, over all constraint points,
    is full power or more;
2b  of these, the one with the highest current temperature;
2c  if there is none, power stays off until one cools into reach. A focus that would not be
    allowed full power even in unheated tissue cannot be waited for: when only such foci are left,
    the one with the highest power by (6) is heated with that power.

The paper gives 2c as a partial list only. Completed here as follows. A target voxel belongs to
the focus nearest to it. A focus is treated when the voxels of its own that lie in its focal zone
have the dose; when all foci are, the rest of their voxels (the edges) is what remains to be
treated, by the same rules. The treatment is given up as unreachable when for `patience_s` no
further voxel has reached the dose.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.settings import Prescription

from .base import Controller
from .options import PaperOptions


class PaperController(Controller):
    """Controller of the reference paper: one focus at a time, at full power."""

    Options = PaperOptions

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: PaperOptions):
        super().__init__(model, prescription, options)
        self._patience = options.patience
        outputs, rows = model.outputs, model.constraint_rows
        self._free_map = rows @ model.A
        self._heating = rows @ model.B
        self._headroom = (outputs.limit - outputs.baseline)[outputs.constraint]
        target = outputs.position[outputs.target]
        owner = KDTree(model.foci).query(target)[1]
        self._centre = KDTree(target).query(model.foci)[1]
        self._owned = owner[:, None] == np.arange(len(model.foci))
        response = model.target_rows @ model.B
        zone = response >= options.focal_zone_level * response.max(axis=0)
        self._duty = self._owned & zone
        self._can_have_full_power = self._limit_power(self._headroom) >= prescription.max_power
        self._focus: int | None = 0
        self._power = 0.0
        self._edges = False
        self._best_dosed, self._last_progress = 0, 0.0

    def decide(self, estimate: Estimate) -> np.ndarray:
        missing = estimate.target_dose < self.prescription.dose
        untreated = self._untreated(missing)
        self._watch_progress(estimate.time, missing)
        highest = self.highest_power(estimate.state)
        power = np.zeros(len(self.model.foci))
        focus, level = self._select(untreated, highest, estimate.target_temperature)
        self._report(focus, level)
        if focus is not None:
            power[focus] = level
        return power

    def highest_power(self, state: np.ndarray) -> np.ndarray:
        """(n_foci,) highest power by equation (6) [W]; above full power where none binds."""
        return self._limit_power(self._headroom - self._free_map @ state)

    def _limit_power(self, room: np.ndarray) -> np.ndarray:
        """Smallest of room / heating over the constraint points, never negative.

        A point that a focus does not heat cannot limit it, but one that is over its limit
        without any power stops every focus.
        """
        if (room <= 0).any():
            return np.zeros(self._heating.shape[1])
        with np.errstate(divide="ignore"):
            ratio = np.where(self._heating > 0, room[:, None] / self._heating, np.inf)
        return ratio.min(axis=0)

    def _untreated(self, missing: np.ndarray) -> np.ndarray:
        """(n_foci,) bool: foci with voxels that still lack dose (rule 1a)."""
        untreated = (self._duty & missing[:, None]).any(axis=0)
        if not untreated.any() and not self._edges:
            self._edges, self._duty = True, self._owned
            self.note("all foci treated, going on with the edges")
            untreated = (self._duty & missing[:, None]).any(axis=0)
        return untreated

    def _select(self, untreated, highest, temperature) -> tuple[int | None, float]:
        """The focus and its power; (None, 0) is off."""
        full = self.prescription.max_power
        allowed = untreated & (highest >= full)
        if self._focus is not None and allowed[self._focus]:
            return self._focus, full
        if allowed.any():
            hottest = np.where(allowed, temperature[self._centre], -np.inf)
            return int(hottest.argmax()), full
        if (untreated & self._can_have_full_power).any() or not untreated.any():
            return None, 0.0
        best = int(np.where(untreated, highest, -1.0).argmax())
        return (best, highest[best]) if highest[best] > 0 else (None, 0.0)

    def _report(self, focus: int | None, power: float) -> None:
        if focus is None and self._power > 0:
            self.note("power off: no focus allows full power")
        elif focus is not None and (self._power == 0 or focus != self._focus):
            self.note(f"focus {focus + 1} at {power:.3g} W")
        self._focus, self._power = focus, power

    def _watch_progress(self, time: float, missing: np.ndarray) -> None:
        dosed = int((~missing).sum())
        if dosed > self._best_dosed:
            self._best_dosed, self._last_progress = dosed, time
        elif time - self._last_progress > self._patience:
            self.unreachable = True

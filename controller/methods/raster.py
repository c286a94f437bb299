"""Today's clinical habit: every focus in turn for a fixed time, each followed by cooling.

Foci whose voxels have the dose are passed over; after the last focus the raster begins again with
those that still lack it. The limits of the normal tissue are left to the cooling.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import KDTree

from hifuflow.controller.estimation.kalman import Estimate
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.controller.settings import Prescription

from .base import Controller


class RasterController(Controller):
    """One focus after the other; options `power_w`, `dwell_s`, `cooling_s` and `passes`."""

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: dict):
        super().__init__(model, prescription, options)
        self._power = min(options["power_w"], prescription.max_power)
        self._dwell = max(1, round(options["dwell_s"] / model.interval))
        self._period = self._dwell + math.ceil(options["cooling_s"] / model.interval - 1e-9)
        self._passes = options["passes"]
        self._owner = KDTree(model.foci).query(model.outputs.position[model.outputs.target])[1]
        self._sample, self._focus, self._pass = 0, -1, 1

    def decide(self, estimate: Estimate) -> np.ndarray:
        phase = self._sample % self._period
        self._sample += 1
        power = np.zeros(len(self.model.foci))
        if phase == 0:
            self._next_focus(estimate.target_dose < self.prescription.dose)
        if phase < self._dwell:
            power[self._focus] = self._power
        return power

    def _next_focus(self, missing: np.ndarray) -> None:
        """The next focus in raster order with a voxel of its own that lacks dose."""
        lacking = np.unique(self._owner[missing])
        later = lacking[lacking > self._focus]
        if not len(later):
            self._pass += 1
            self.unreachable = self._pass > self._passes
            later = lacking
        self._focus = int(later[0])
        self.note(f"focus {self._focus + 1} at {self._power:.3g} W")

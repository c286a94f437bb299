"""Raster of sonications, as in the clinic: every focus in turn for a fixed time, then cooling.

Foci whose voxels have the dose are passed over; after the last focus the raster begins again with
those that still lack it. The limits of the normal tissue are left to the cooling.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import KDTree

from hifuflow.controller.estimation.estimate import Estimate
from hifuflow.controller.prediction import DiscreteModel
from hifuflow.settings import Prescription

from .base import Controller
from .options import RasterOptions


class RasterController(Controller):
    """Raster controller: one focus after the other, each for a fixed time, with pauses."""

    Options = RasterOptions

    def __init__(self, model: DiscreteModel, prescription: Prescription, options: RasterOptions):
        super().__init__(model, prescription, options)
        self._power = min(options.power, prescription.max_power)
        self._dwell = max(1, round(options.dwell / model.interval))
        self._period = self._dwell + math.ceil(options.cooling / model.interval - 1e-9)
        self._passes = options.passes
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

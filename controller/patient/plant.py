"""Simulated patient: the full finite-element model under piecewise constant power.

The patient with constant tissue properties is stepped in the modes of the space that its foci can
reach (`reachable`): exactly in time, whatever the length of a sample. Outputs are computed at every
sample; the temperatures of all unknowns, and of them those and the doses of all voxels, for many
samples at once, when somebody asks for them or `AT_ONCE` samples are waiting.
"""

from __future__ import annotations

import math

import numpy as np

from hifuflow.controller.dose import cem43_smooth
from hifuflow.job import log
from hifuflow.records.bioheat_model import BioheatModel

from .coldest import Coldest
from .reachable import reachable_space
from .voxel_history import VoxelHistory

AT_ONCE = 20  # samples
LONGEST = 3600.0  # time scale beyond which bodies are taken as steady [s]


class HeatedPatient:
    """Simulated patient that is heated, and what a perfect observer would see in it.

    Parameters
    ----------
    model : the full model.
    interval : length of a sample, during which the power is constant [s].
    substep : largest step for thermal dose and peak temperature within a sample [s]; an even
        number of them makes a sample.
    highest : temperature that nothing exceeds [degC].

    Attributes
    ----------
    temperature : (p,) outputs now [degC].
    target_dose : (n_v,) thermal dose of the target voxels so far [CEM43 min].
    coldest : lowest temperatures so far, `Coldest`.
    """

    def __init__(self, model: BioheatModel, interval: float, substep: float,
                 highest: float = np.inf):
        self._model = model
        self._interval = interval
        self._substeps = 2 * max(1, math.ceil(interval / (2 * substep) - 1e-9))
        self._substep = interval / self._substeps
        self.temperature = model.outputs.baseline.copy()
        self.target_dose = np.zeros(int(model.outputs.target.sum()))
        self._highest, self._samples = highest, 0
        self._voxels = VoxelHistory(model, highest)
        self.coldest = Coldest(model)

    @property
    def state(self) -> np.ndarray:
        """(n,) temperature rise of the unknowns now [K]."""
        raise NotImplementedError

    @property
    def voxels(self) -> VoxelHistory:
        """Peak temperature and dose of the whole body so far."""
        return self._voxels

    @property
    def mean_temperature(self) -> np.ndarray:
        """(p,) like `temperature`, but in the target the mean over each voxel [degC]."""
        return self._capped(self._model.C_mean @ self.state + self._model.outputs.mean_baseline)

    @property
    def node_temperature(self) -> np.ndarray:
        """(n,) temperature of the unknowns now [degC]."""
        return self.state + self._model.baseline

    def advance(self, power: np.ndarray) -> None:
        """One sample with constant power per input of the model [W]."""
        raise NotImplementedError

    @property
    def _times(self) -> np.ndarray:
        """Ends of the substeps of a sample [s]."""
        return self._substep * np.arange(1, self._substeps + 1)

    def _observe(self, rise: np.ndarray) -> None:
        """Take in the outputs' rises (p, n_substeps) of one sample [K]."""
        outputs = self._model.outputs
        temperature = self._capped(rise + outputs.baseline[:, None])
        self.coldest.watch(temperature, rise)
        path = np.column_stack([self.temperature, temperature])[outputs.target].T
        self.target_dose = self.target_dose + cem43_smooth(path, self._substep)
        self.temperature = temperature[:, -1]

    def _follow(self, before: np.ndarray, states: np.ndarray) -> None:
        """Take in all unknowns: at the start (n,), and (n, n_times) at the substeps since [K]."""
        self.coldest.watch(self.temperature, states)
        self._voxels.update(before, states, self._substep, self._substeps // 2)

    def _count(self) -> None:
        """One sample is over; now and then the voxels are all looked at."""
        self._samples += 1
        if self._samples % AT_ONCE == 0:
            self.coldest.watch(self.temperature, self.voxels.refresh_peak(self.state))

    def _capped(self, temperature: np.ndarray) -> np.ndarray:
        """Between nodes, quadratic shape functions can exceed what no node does."""
        return np.minimum(temperature, self._highest)


class Plant(HeatedPatient):
    """Simulated patient with constant tissue properties.

    Parameters
    ----------
    model, interval, substep : see `HeatedPatient`.
    max_power : highest power, to which `tolerance` refers [W].
    tolerance : largest error of a temperature [K], see `reachable_space`.
    """

    def __init__(self, model: BioheatModel, interval: float, substep: float, max_power: float,
                 tolerance: float = 1e-3):
        super().__init__(model, interval, substep)
        self._space = reachable_space(model.E, model.K, model.B, max_power,
                                      (self._substep, LONGEST), tolerance)
        log.info("patient of %d unknowns: heating reaches %d modes, %.1e K off at most",
                 len(model.baseline), len(self._space.rate), self._space.error)
        self._rows = model.C @ self._space.modes
        self._mean_rows = model.C_mean @ self._space.modes
        # Temperatures in single precision are right to 1e-5 K.
        self._modes = self._space.modes.astype(np.float32)
        self._now = self._start = np.zeros(len(self._space.rate))
        self._waiting: list[np.ndarray] = []

    @property
    def state(self) -> np.ndarray:
        return self._space.modes @ self._now

    @property
    def mean_temperature(self) -> np.ndarray:
        return self._capped(self._mean_rows @ self._now + self._model.outputs.mean_baseline)

    @property
    def voxels(self) -> VoxelHistory:
        self._catch_up()
        return self._voxels

    def advance(self, power) -> None:
        path = self._space.after(self._now, power, self._times)
        self._observe(self._rows @ path)
        self._now = path[:, -1]
        self._waiting.append(path)
        self._count()

    def _catch_up(self) -> None:
        """Follow all unknowns through the samples that wait for it."""
        if not self._waiting:
            return
        path = np.hstack([self._start[:, None], *self._waiting]).astype(np.float32)
        states = self._modes @ path
        self._start, self._waiting = self._now, []
        self._follow(states[:, 0], states[:, 1:])

"""Peak temperature and thermal dose of every voxel of the body, in a growing active set."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hifuflow.controller.dose import THRESHOLD, cem43_calm
from hifuflow.records.bioheat_model import BioheatModel

# An unknown this far below the dose threshold activates its voxels: quadratic shape functions
# can lift a voxel above the unknowns around it.
ACTIVATION_MARGIN = 1.0


class VoxelHistory:
    """History of the body's voxels: those that may collect dose are followed, the others stay below
    39 degC.

    Parameters
    ----------
    highest : temperature that nothing exceeds [degC].

    Attributes
    ----------
    peak : (n_voxels,) highest temperature so far [degC]; exact for active voxels, for the others
        the highest of the values passed to `refresh_peak`.
    dose : (n_voxels,) [CEM43 min].
    """

    def __init__(self, model: BioheatModel, highest: float = np.inf):
        # Single precision: temperatures are right to 1e-5 K, in half the memory traffic.
        self._highest = np.float32(highest)
        self._interpolation = sp.csr_array(model.voxels.interpolation, dtype=np.float32)
        self._by_unknown = sp.csc_array(self._interpolation)
        self._baseline = model.voxels.baseline.astype(np.float32)
        self._node_baseline = model.baseline
        self._active = np.zeros(len(self._baseline), dtype=bool)
        self._hot = np.zeros(len(model.baseline), dtype=bool)
        self._select()
        self.peak = model.voxels.baseline.copy()
        self.dose = np.zeros(len(self._baseline))
        self._last = np.zeros(0, dtype=np.float32)

    def update(self, before: np.ndarray, states: np.ndarray, step: float, stride: int) -> None:
        """Add one or more samples.

        Parameters
        ----------
        before : (n,) state at their start.  states : (n, n_sub) at the end of each substep [K],
            n_sub even.
        step : length of a substep [s].
        stride : substeps of half a sample; see `cem43_calm`.
        """
        self._grow(states, before)
        if not len(self._index):
            return
        path = np.column_stack([self._last, self._temperature(states)])
        hottest = path.max(axis=1)
        self.peak[self._index] = np.maximum(self.peak[self._index], hottest)
        warm = np.flatnonzero(hottest >= THRESHOLD)
        # Time first: reducing over a short last axis is slow.
        self.dose[self._index[warm]] += cem43_calm(path[warm].T.astype(float, order="C"), step,
                                                   stride)
        self._last = path[:, -1].copy()

    def refresh_peak(self, state: np.ndarray) -> np.ndarray:
        """Take the peak of all voxels, active or not, from one state (n,); their rises [K]."""
        rise = self._interpolation @ state.astype(np.float32)
        np.maximum(self.peak, np.minimum(rise + self._baseline, self._highest), out=self.peak)
        return rise

    def _grow(self, states, before) -> None:
        limit = THRESHOLD - ACTIVATION_MARGIN - self._node_baseline
        fresh = np.flatnonzero((states.max(axis=1) > limit) & ~self._hot)
        if not len(fresh):
            return
        self._hot[fresh] = True
        touched = self._by_unknown[:, fresh].indices
        if self._active[touched].all():
            return
        self._active[touched] = True
        self._select()
        self._last = self._temperature(before[:, None])[:, 0]

    def _temperature(self, states: np.ndarray) -> np.ndarray:
        """(n_active, n_times) of the active voxels [degC]."""
        rise = self._rows @ states.astype(np.float32, copy=False)
        return np.minimum(rise + self._baseline[self._index, None], self._highest)

    def _select(self) -> None:
        self._index = np.flatnonzero(self._active)
        self._rows = self._interpolation[self._index]

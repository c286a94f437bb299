"""Peak temperature and thermal dose of every voxel of the body, in a growing active set."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hifuflow.controller.dose import THRESHOLD, cem43_smooth
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
        self._highest = highest
        self._interpolation = sp.csr_array(model.voxels.interpolation)
        self._by_unknown = sp.csc_array(self._interpolation)
        self._baseline = model.voxels.baseline
        self._node_baseline = model.baseline
        self._active = np.zeros(len(self._baseline), dtype=bool)
        self._hot = np.zeros(len(model.baseline), dtype=bool)
        self._select()
        self.peak = self._baseline.copy()
        self.dose = np.zeros(len(self._baseline))
        self._last = np.zeros(0)

    def update(self, before: np.ndarray, states: np.ndarray, step: float) -> None:
        """Add one sample.

        Parameters
        ----------
        before : (n,) state at its start.  states : (n, n_sub) at the end of each substep [K],
            n_sub even.
        step : length of a substep [s].
        """
        self._grow(states, before)
        if not len(self._index):
            return
        # Time first: reducing over a short last axis is slow.
        temperature = np.minimum((self._rows @ states).T + self._baseline[self._index],
                                 self._highest)
        path = np.concatenate([self._last[None], temperature])
        hottest = path.max(axis=0)
        self.peak[self._index] = np.maximum(self.peak[self._index], hottest)
        warm = np.flatnonzero(hottest >= THRESHOLD)
        self.dose[self._index[warm]] += cem43_smooth(path[:, warm], step)
        self._last = temperature[-1]

    def refresh_peak(self, state: np.ndarray) -> np.ndarray:
        """Take the peak of all voxels, active or not, from one state (n,); their rises [K]."""
        rise = self._interpolation @ state
        np.maximum(self.peak, np.minimum(rise + self._baseline, self._highest), out=self.peak)
        return rise

    def _grow(self, states, before) -> None:
        limit = THRESHOLD - ACTIVATION_MARGIN - self._node_baseline
        fresh = np.flatnonzero((np.maximum.reduce(list(states.T)) > limit) & ~self._hot)
        if not len(fresh):
            return
        self._hot[fresh] = True
        touched = self._by_unknown[:, fresh].indices
        if self._active[touched].all():
            return
        self._active[touched] = True
        self._select()
        self._last = np.minimum(self._rows @ before + self._baseline[self._index], self._highest)

    def _select(self) -> None:
        self._index = np.flatnonzero(self._active)
        self._rows = self._interpolation[self._index]

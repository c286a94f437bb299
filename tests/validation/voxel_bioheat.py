"""The bioheat equation by finite volumes on voxels: SciPy only, nothing of the project's solvers.

    rho c dT/dt = div(k grad T) - w (T - T_a) + Q

Fluxes between voxels with harmonic means of k; faces towards water are held at the arterial
temperature, all others are insulated. Heun's method with steps below its stability limit.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


class VoxelBioheat:
    """Temperature rise above the arterial one on the body's voxels.

    Parameters
    ----------
    capacity, conductivity, perfusion : (nx, ny, nz) rho c, k, w; 0 conductivity outside the body.
    water : (nx, ny, nz) bool; where the body has these for neighbours, its faces are held.
    spacing : edge of a voxel [m].
    """

    def __init__(self, capacity, conductivity, perfusion, water, spacing: float):
        body = conductivity > 0
        self.number = np.full(body.shape, -1, dtype=np.int32)
        self.number[body] = np.arange(body.sum())
        k, n = conductivity, int(body.sum())
        diagonal, rows, columns, values = perfusion[body].copy(), [], [], []
        for axis in range(3):
            low, high = ([slice(None)] * 3 for _ in range(2))
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            for here, there in ((tuple(low), tuple(high)), (tuple(high), tuple(low))):
                inner, outer = body[here] & body[there], body[here] & water[there]
                own = self.number[here]
                pair = 2 / (1 / k[here][inner] + 1 / k[there][inner]) / spacing**2
                rows.append(own[inner])
                columns.append(self.number[there][inner])
                values.append(-pair)
                np.add.at(diagonal, own[inner], pair)
                np.add.at(diagonal, own[outer], 2 * k[here][outer] / spacing**2)
        inverse = 1 / capacity[body]
        rows, columns, values = (np.concatenate(part) for part in (rows, columns, values))
        loss = sp.csr_array(sp.coo_array((values, (rows, columns)), (n, n)))
        loss = loss + sp.diags_array(diagonal)
        self._decay = sp.csr_array(sp.diags_array(inverse) @ loss).astype(np.float32)
        self._inverse = inverse.astype(np.float32)
        self._body, self.rise = body, np.zeros(n, dtype=np.float32)
        self.longest_step = 2 / float(abs(self._decay).sum(axis=1).max())

    def source(self, q: np.ndarray) -> np.ndarray:
        """(n,) q / (rho c) [K/s] of the body's voxels for q (nx, ny, nz) [W/m3]."""
        return self._inverse * q[self._body]

    def advance(self, source: np.ndarray | float, duration: float) -> None:
        """Heat with a source (n,) [K/s] for a time [s]."""
        steps = int(np.ceil(duration / self.longest_step))
        step = np.float32(duration / steps)
        for _ in range(steps):
            slope = source - self._decay @ self.rise
            ahead = self.rise + step * slope
            slope += source
            slope -= self._decay @ ahead
            self.rise += np.float32(0.5) * step * slope

    def at(self, index: np.ndarray) -> np.ndarray:
        """(n,) rise at fractional voxel indices (n, 3), trilinear; NaN beside the body."""
        base = np.floor(index).astype(int)
        part, total = index - base, np.zeros(len(index))
        for corner in np.ndindex(2, 2, 2):
            place = base + corner
            weight = np.prod(np.where(corner, part, 1 - part), axis=1)
            inside = np.all((place >= 0) & (place < self.number.shape), axis=1)
            number = np.where(inside, self.number[tuple(np.where(inside[:, None], place, 0).T)],
                              -1)
            total += weight * np.where(number >= 0, self.rise[number], np.nan)
        return total

"""Where the heat of a sample appears, against where it was sent: the shift of all foci.

To first order a shift by z changes the heat d of a sample by -z . grad d, and a wrong gain by a
multiple of d. Both are fitted to the innovations i of the target's voxels, over the images so far,

    i = c d - z . grad d + noise,

older ones with the weight FORGETTING for each image since. grad d is taken by linear fits to each
voxel's `NEIGHBOURS`. Innovations as large as `DOUBT` of the expected change tell little (see
`response`). Heat of another shape than the model's, by a share `SHAPE` of d, looks like a shift by
that share of the length |d| / |a . grad d| over which d changes along a: little across the beam,
more along it. A shift z is found where |z| exceeds the highest allowed by `SIGNIFICANT` standard
deviations and by that, in `IN_A_ROW` images.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.spatial import KDTree

from hifuflow.controller.estimation.innovation import Innovation

from .response import DOUBT, INFLATION

NEIGHBOURS = 10
FORGETTING = 0.98
SHAPE = 0.3
SIGNIFICANT, IN_A_ROW = 4.0, 2
LEAST_VOXELS = 30  # of the target


class PlaceCheck:
    """Check of the place of the heat.

    Parameters
    ----------
    position : (n_m, 3) of the measurements [m].  in_target : (n_m,) bool.
    variance : R [K2].  highest : |z| that is allowed [m].
    """

    def __init__(self, position: np.ndarray, in_target: np.ndarray, variance: float,
                 highest: float):
        self._rows = np.flatnonzero(in_target)
        self._variance, self._highest = INFLATION * variance, highest
        enough = len(self._rows) >= LEAST_VOXELS
        self._gradient = gradient(position[self._rows]) if enough else None
        self._information, self._vector = np.zeros((4, 4)), np.zeros(4)
        self._followed, self._far = True, 0

    def fault(self, innovation: Innovation) -> str:
        """What is wrong; "" if nothing is."""
        fresh = self._followed and innovation.taken
        self._followed = innovation.taken
        if not fresh or self._gradient is None or not innovation.power.any():
            return ""
        seen = np.isfinite(innovation.value[self._rows])
        heat, value, spread = (part[self._rows] for part in (
            innovation.heat, np.nan_to_num(innovation.value), innovation.spread))
        terms = np.stack([heat, *(-(one @ heat) for one in self._gradient)]) * seen
        weight = 1 / (self._variance + (DOUBT * spread) ** 2 + (DOUBT * heat) ** 2)
        self._information = FORGETTING * self._information + (terms * weight) @ terms.T
        self._vector = FORGETTING * self._vector + (terms * weight) @ value
        shift, deviation = self.shift()
        allowed = self._highest + SIGNIFICANT * deviation + SHAPE * self._length(shift)
        far = np.linalg.norm(shift) > allowed
        self._far = self._far + 1 if far else 0
        if self._far < IN_A_ROW:
            return ""
        return ("the images show heat at another place than commanded: "
                f"{1e3 * np.linalg.norm(shift):.2g} mm from the focus")

    def shift(self) -> tuple[np.ndarray, float]:
        """z (3,) and the standard deviation along it [m]."""
        usual = np.diag([1.0, *3 * [1 / 0.02 ** 2]])  # before any image: no shift, within 2 cm
        covariance = np.linalg.inv(self._information + usual)
        solution = covariance @ self._vector
        shift = solution[1:] / max(0.3, 1 + solution[0])
        along = shift / max(np.linalg.norm(shift), 1e-12)
        return shift, float(np.sqrt(along @ covariance[1:, 1:] @ along))

    def _length(self, shift: np.ndarray) -> float:
        """|d| / |a . grad d| along a shift (3,) [m]."""
        along = shift / max(np.linalg.norm(shift), 1e-12)
        change = along @ self._information[1:, 1:] @ along
        return float(np.sqrt(self._information[0, 0] / max(change, 1e-300)))


def gradient(position: np.ndarray) -> list[sp.csr_array]:
    """Along each axis (n, n): the gradient at every voxel by a linear fit to its neighbours.

    Parameters
    ----------
    position : (n, 3) [m].
    """
    n = len(position)
    near = KDTree(position).query(position, min(NEIGHBOURS + 1, n))[1][:, 1:]
    away = position[near] - position[:, None]
    weights = np.linalg.pinv(away, rcond=1e-3)  # (n, 3, neighbours)
    rows = np.repeat(np.arange(n), near.shape[1])
    matrices = []
    for axis in range(3):
        outer = sp.csr_array((weights[:, axis].ravel(), (rows, near.ravel())), shape=(n, n))
        matrices.append(sp.csr_array(outer - sp.diags_array(outer.sum(axis=1))))
    return matrices

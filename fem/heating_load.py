"""The load vector of each focus, from the absorbed power on voxels.

B_i = int q phi_i. Each voxel's power q V is distributed to the nodes of the cell that contains it,
in proportion to phi_i. These add up to one, so no power is lost or created: the sum of B over all
nodes is the power of the voxels that were deposited. One sample per voxel suffices where cells
are large. Where a cell is not much larger than a voxel, the voxel is cut into m^3 parts, over
which q varies linearly with the central differences of its neighbours. This keeps the voxel's
power exactly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from hifuflow.errors import InputError, NumericalError
from hifuflow.job import Progress, log
from hifuflow.numerics.tetrahedra import signed_volumes
from hifuflow.records.heating import Heating

from . import MPI
from .point_evaluation import PointEvaluator

LEAST_CAPTURED = 0.97  # least fraction of a focus's power that must lie in the mesh
# A voxel is cut until its parts are at most this fraction of the cube root of the volume of the
# cell; a regular tetrahedron of edge a has a cube root of 0.49 a.
PART_TO_CELL = 0.5
MAX_PARTS = 4  # of a voxel's edge
VOXELS_AT_ONCE = 50_000
# The heating of all foci may not fit into memory: it is read in slabs of this size [bytes], and of
# at least so many planes.
READ_AT_ONCE, LEAST_PLANES = 1.5e9, 16


def heating_load(evaluator: PointEvaluator, heating: Heating, comm=MPI.COMM_SELF) -> np.ndarray:
    """(n_nodes, n_foci) load of every node, before elimination [W per W acoustic].

    Voxels just outside the mesh (between the voxels' stairs and the smooth surface) are deposited
    at the closest point of the mesh if it is no farther away than a voxel's edge; others are
    dropped. The ranks of `comm` all have the whole mesh. They share the voxels, and all get the
    whole load.

    Raises
    ------
    InputError : the heating is negative, not finite, or zero for some focus.
    NumericalError : less than 97 % of some focus's power lies in the mesh.
    """
    n_foci, *across, planes = heating.q.shape
    total = np.zeros(n_foci)
    volume = abs(np.linalg.det(heating.affine[:3, :3]))
    reach = np.linalg.norm(heating.affine[:3, :3], axis=0).max()
    parts = parts_per_edge(evaluator, reach)
    load = np.zeros((evaluator.n_nodes, n_foci))
    at_once = max(LEAST_PLANES, int(READ_AT_ONCE / (4 * n_foci * np.prod(across) * comm.size)))
    with Progress("load", total=planes, unit="planes") as progress:
        for start in range(0, planes, at_once):
            stop = min(start + at_once, planes)
            part, inside = _slab(heating, start, stop)
            total += _checked_sum(part.q[..., inside])
            active = np.argwhere((part.q[..., inside] > 0).any(axis=0))
            active[:, 2] += inside.start
            for first in range(comm.rank * VOXELS_AT_ONCE, len(active),
                               comm.size * VOXELS_AT_ONCE):
                _deposit(load, evaluator, part, active[first:first + VOXELS_AT_ONCE], parts, reach)
            progress.advance(stop - start)
    if np.any(total == 0):
        raise InputError("the absorbed power of a focus is zero", key="heating.q")
    comm.Allreduce(MPI.IN_PLACE, load)
    captured = load.sum(axis=0) / total
    load *= volume
    log.info("absorbed power in the mesh: %.2f to %.2f %% of the voxels'", 100 * captured.min(),
             100 * captured.max())
    if captured.min() < LEAST_CAPTURED:
        raise NumericalError(f"only {captured.min():.1%} of the absorbed power of focus "
                             f"{captured.argmin()} lies in the mesh, {LEAST_CAPTURED:.0%} needed: "
                             "mesh and heating do not cover the same body")
    return load


def _slab(heating: Heating, start: int, stop: int) -> tuple[Heating, slice]:
    """Planes `start` to `stop` of the heating with a neighbour on each side, and their slice."""
    low, high = max(start - 1, 0), min(stop + 1, heating.q.shape[3])
    affine = heating.affine.copy()
    affine[:3, 3] += low * affine[:3, 2]
    return (replace(heating, q=heating.q[..., low:high], affine=affine),
            slice(start - low, stop - low))


def _checked_sum(q: np.ndarray) -> np.ndarray:
    """(n_foci,) sum of q [W/m3], which must be finite and not negative."""
    total = q.sum(axis=(1, 2, 3), dtype=float)
    if not np.all(np.isfinite(total)) or q.min() < 0:
        raise InputError("absorbed power must be finite and not negative", key="heating.q")
    return total


def parts_per_edge(evaluator: PointEvaluator, edge: float) -> np.ndarray:
    """(n_cells,) number of parts into which the edge [m] of a voxel in each cell is cut."""
    size = np.cbrt(np.abs(signed_volumes(evaluator.vertices)))
    return np.clip(np.ceil(edge / (PART_TO_CELL * size)), 1, MAX_PARTS).astype(int)


def _deposit(load, evaluator, heating, index, parts, reach) -> None:
    """Add the voxels (n, 3) to the load, in units of q."""
    located = evaluator.locate(_position(heating.affine, index))
    near = np.flatnonzero(located.distance <= reach)
    m = parts[located.cell[near]]
    whole = near[m == 1]
    load += evaluator.interpolation(located[whole]).T @ _power(heating.q, index[whole])
    for count in np.unique(m[m > 1]):
        these = near[m == count]
        groups = -(-len(these) * count**3 // VOXELS_AT_ONCE)
        for group in np.array_split(these, groups):
            _deposit_parts(load, evaluator, heating, index[group], int(count))


def _deposit_parts(load, evaluator, heating, index, m: int) -> None:
    """Add voxels (n, 3) cut into m^3 parts each."""
    offsets = (np.indices((m, m, m)).reshape(3, -1).T + 0.5) / m - 0.5
    points = _position(heating.affine, index[:, None] + offsets)
    shares = evaluator.interpolation(evaluator.locate(points))
    n, n_parts = len(index), m**3
    rows, columns = np.repeat(np.arange(n), n_parts), np.arange(n * n_parts)

    def mean_over_parts(weights):
        gather = sp.csr_array((np.tile(weights / n_parts, n), (rows, columns)))
        return (gather @ shares).T

    load += mean_over_parts(np.ones(n_parts)) @ _power(heating.q, index)
    for axis in range(3):
        load += mean_over_parts(offsets[:, axis]) @ _slope(heating.q, index, axis)


def _power(q: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(n, n_foci) absorbed power density of voxels (n, 3)."""
    return q[:, *index.T].T.astype(float)


def _slope(q: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """(n, n_foci) central difference of q per voxel along an axis, 0 slope at the grid's edge."""
    step = np.eye(3, dtype=int)[axis]
    last = np.array(q.shape[1:]) - 1
    after, before = np.clip(index + step, 0, last), np.clip(index - step, 0, last)
    return 0.5 * (q[:, *after.T].astype(float) - q[:, *before.T]).T


def _position(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    return (index @ affine[:3, :3].T + affine[:3, 3]).reshape(-1, 3)

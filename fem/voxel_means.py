"""Means of a quadratic finite-element function over voxels, exactly, as a sparse matrix.

    mean_v = 1 / |V| int_V u,   V: the part of the voxel in the mesh

Cells are cut along the planes between voxels until every piece, a tetrahedron again, lies in one
voxel. A piece is given by the barycentric coordinates L (4, 4) of its corners in its cell, so that
|det L| is its fraction of the cell's volume. With the sum s of the rows of L

    mean of lambda_i lambda_j over the piece = (s_i s_j + sum_k L_ki L_kj) / 20,

which gives the means of the shape functions without any quadrature error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hifuflow.numerics.quadratic import QUADRATIC_EDGES

from .point_evaluation import PointEvaluator

CELLS_AT_ONCE = 2000
ON_PLANE = 1e-12  # distance within which a corner lies on a plane [voxels]
LEAST_SHARE = 1e-15  # fraction of a cell's volume; smaller pieces are rounding
# A prism between two triangles, corners 0 1 2 and 3 4 5, as three tetrahedra.
PRISM = np.array([[0, 1, 2, 5], [0, 1, 4, 5], [0, 3, 4, 5]])


def voxel_means(evaluator: PointEvaluator, affine: np.ndarray, number: np.ndarray) -> sp.csr_array:
    """(n, n_nodes) CSR matrix: means over groups of voxels = matrix @ nodal values.

    A group that lies outside the mesh has an empty row.

    Parameters
    ----------
    affine : (4, 4) voxel index to position [m], diagonal and positive.
    number : (nx, ny, nz) group of each voxel, -1 for none.
    """
    corners = (evaluator.vertices - affine[:3, 3]) / np.diag(affine)[:3] + 0.5
    grouped = np.argwhere(number >= 0)
    low, high = grouped.min(axis=0), grouped.max(axis=0) + 1
    near = np.flatnonzero((corners.max(axis=1) > low).all(axis=1)
                          & (corners.min(axis=1) < high).all(axis=1))
    nodes, n_nodes = evaluator.space.dofmap.list, evaluator.n_nodes
    volume = np.abs(np.linalg.det(evaluator.vertices[:, 1:] - evaluator.vertices[:, :1]))
    total = sp.csr_array((number.max() + 1, n_nodes))
    for start in range(0, len(near), CELLS_AT_ONCE):
        cells = near[start:start + CELLS_AT_ONCE]
        pieces = _Pieces(corners[cells], np.arange(len(cells)),
                         np.broadcast_to(np.eye(4), (len(cells), 4, 4)))
        for axis in range(3):
            pieces = _cut(pieces, axis, low[axis], high[axis])
        index = np.floor(pieces.position().mean(axis=1)).astype(int)
        group = number[tuple(np.clip(index, 0, np.array(number.shape) - 1).T)]
        kept = pieces[group >= 0]
        parents = cells[kept.cell]
        integral = (volume[parents] * kept.share)[:, None] * _mean_shape_functions(kept.corners)
        rows = np.repeat(group[group >= 0], 10)
        total = total + sp.csr_array((integral.ravel(), (rows, nodes[parents].ravel())),
                                     total.shape)
    inside = total.sum(axis=1)
    return sp.csr_array(sp.diags_array(np.divide(1, inside, where=inside > 0,
                                                 out=np.zeros_like(inside))) @ total)


@dataclass
class _Pieces:
    """Tetrahedra cut out of cells.

    Attributes
    ----------
    vertices : (n_cells, 4, 3) of the cells, in voxels; whole numbers are the planes between voxels.
    cell : (n,) cell of each piece.  corners : (n, 4, 4) barycentric, corner by corner.
    """

    vertices: np.ndarray
    cell: np.ndarray
    corners: np.ndarray

    def __getitem__(self, selection) -> _Pieces:
        return _Pieces(self.vertices, self.cell[selection], self.corners[selection])

    @property
    def share(self) -> np.ndarray:
        """(n,) volume over that of the cell."""
        a, b, c = np.moveaxis(self.corners[:, 1:, 1:] - self.corners[:, :1, 1:], 1, 0)
        return np.abs((np.cross(a, b) * c).sum(axis=1))

    def position(self) -> np.ndarray:
        """(n, 4, 3) positions of the corners [voxels]."""
        return self.corners @ self.vertices[self.cell]


def _cut(pieces: _Pieces, axis: int, first: int, last: int) -> _Pieces:
    """The pieces between planes `first` and `last` across an axis, cut at every plane between."""
    done = []
    while len(pieces.cell):
        along = (pieces.corners @ pieces.vertices[pieces.cell, :, axis][..., None])[..., 0]
        low, high = along.min(axis=1), along.max(axis=1)
        inside = (high > first + ON_PLANE) & (low < last - ON_PLANE)
        pieces, along, low, high = pieces[inside], along[inside], low[inside], high[inside]
        # Cut at the plane nearest to the middle of a piece, of those strictly inside it.
        lowest, highest = np.floor(low + ON_PLANE) + 1, np.ceil(high - ON_PLANE) - 1
        whole = lowest > highest
        done.append(pieces[whole])
        plane = np.clip(np.rint((low + high) / 2), lowest, highest)
        pieces = _split(pieces[~whole], (along - plane[:, None])[~whole])
    return _Pieces(pieces.vertices, np.concatenate([part.cell for part in done]),
                   np.concatenate([part.corners for part in done]))


def _split(pieces: _Pieces, above: np.ndarray) -> _Pieces:
    """Both sides of a plane through each piece; `above` (n, 4) are its corners' heights over it."""
    order = np.argsort(above, axis=1)
    above = np.take_along_axis(above, order, axis=1)
    corners = np.take_along_axis(pieces.corners, order[..., None], axis=1)
    below = (above <= 0).sum(axis=1)
    cells, parts = [pieces.cell[:0]], [corners[:0]]
    for count, sides in SIDES.items():
        these = below == count
        # The corners, then the points where edges cross the plane.
        points = np.empty((these.sum(), 4 + count * (4 - count), 4))
        points[:, :4] = corners[these]
        for at, (i, j) in enumerate(_crossing(count), start=4):
            start, end = above[these, i, None], above[these, j, None]
            points[:, at] = (end * points[:, i] - start * points[:, j]) / (end - start)
        for side in sides:
            cells.append(pieces.cell[these])
            parts.append(points[:, side])
    split = _Pieces(pieces.vertices, np.concatenate(cells), np.concatenate(parts))
    return split[split.share > LEAST_SHARE]


def _crossing(below: int) -> list[tuple[int, int]]:
    """Edges from each corner below a plane to each above it; the corners are sorted by height."""
    return [(i, j) for i in range(below) for j in range(below, 4)]


# Number of corners below the plane -> the tetrahedra on both sides, as rows of `points`.
SIDES = {
    1: [[0, 4, 5, 6], *np.array([4, 5, 6, 1, 2, 3])[PRISM]],
    2: [*np.array([0, 4, 5, 1, 6, 7])[PRISM], *np.array([2, 4, 6, 3, 5, 7])[PRISM]],
    3: [[3, 4, 5, 6], *np.array([4, 5, 6, 0, 1, 2])[PRISM]],
}


def _mean_shape_functions(corners: np.ndarray) -> np.ndarray:
    """(n, 10) means of the quadratic shape functions over pieces (n, 4, 4)."""
    total = corners.sum(axis=1)
    products = (total[:, :, None] * total[:, None] + np.swapaxes(corners, 1, 2) @ corners) / 20
    vertices = 2 * np.einsum("nii->ni", products) - total / 4
    return np.hstack([vertices, 4 * products[:, QUADRATIC_EDGES[:, 0], QUADRATIC_EDGES[:, 1]]])

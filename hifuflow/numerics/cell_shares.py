"""Fractions of the label map's labels in each tetrahedron of a mesh."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from .tetrahedra import signed_volumes

SAMPLES_PER_VOXEL_EDGE = 2
MAX_SUBDIVISION = 12  # of a cell's edge
POINTS_AT_ONCE = 2_000_000
FITTINGS = 20  # steps of iterative proportional fitting


def label_shares(vertices: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(n_cells, n_labels) fraction of each label in the body's voxels that a cell represents.

    Each cell is cut into equal parts about half a voxel wide. A voxel is divided among the cells
    that have parts with their centroids in it, by the volume of these parts. A body voxel without
    such parts (the mesh's surface is smooth, the voxels' is not) joins the nearest voxel that has
    some. So every voxel of the map is in some cell, even those of thin layers at the surface.
    Voxels farther from the mesh than its longest edge are left out. Iterative proportional fitting
    then makes the volumes of the cells and of the labels right at once; where mesh and map differ
    in volume, all labels change by the same factor.

    Parameters
    ----------
    vertices : (n_cells, 4, 3) [m].
    labels : (nx, ny, nz) of the map; 0 is the outside.
    affine : (4, 4), diagonal, voxel index to position [m].

    Returns
    -------
    Rows add up to 1; column 0, the outside, is 0. A cell without any body voxel has the label of
    the body voxel nearest to its centroid.
    """
    grid = _Grid(labels, affine)
    n_labels, longest = int(labels.max()) + 1, _longest_edges(vertices)
    volumes = np.abs(signed_volumes(vertices))
    parts = list(_parts(vertices, volumes, grid, longest))
    labels, covered = labels.ravel(), np.zeros(labels.size)
    for _, voxel, volume in parts:
        np.add.at(covered, voxel, volume.astype(float))
    uncovered, carrier = _uncovered(grid, covered, longest.max(initial=0))
    carrier, row = np.unique(carrier, return_inverse=True)
    carried = np.zeros((len(carrier), n_labels))
    np.add.at(carried, (row, labels[uncovered]), 1)
    place = np.full(labels.size, -1, np.int32)
    place[carrier] = np.arange(len(carrier))
    content = np.zeros((len(vertices), n_labels))
    for cell, voxel, volume in parts:
        share = volume / covered[voxel]
        np.add.at(content.reshape(-1), np.int64(n_labels) * cell + labels[voxel], share)
        carries = np.flatnonzero(place[voxel] >= 0)
        np.add.at(content, cell[carries], share[carries, None] * carried[place[voxel[carries]]])
    content[:, 0] = 0
    total = content.sum(axis=0)
    empty = np.flatnonzero(content.sum(axis=1) == 0)
    if len(empty):
        content[empty, _nearest_label(grid, vertices[empty].mean(axis=1))] = 1
    return _fitted(content, volumes, total * volumes.sum() / max(total.sum(), 1))


class _Grid:
    """The label map and the positions of its voxels."""

    def __init__(self, labels: np.ndarray, affine: np.ndarray):
        self.labels, self.body = labels, labels > 0
        self.spacing, self._origin = np.diag(affine)[:3], affine[:3, 3]

    def index(self, position) -> np.ndarray:
        """Fractional voxel indices of positions (..., 3) [m]."""
        return (position - self._origin) / self.spacing


def _fitted(content, volumes, total):
    """Shares whose rows add up to 1 and, where possible, columns times volumes to `total`."""
    for _ in range(FITTINGS):
        share = content / content.sum(axis=1, keepdims=True)
        fitted = volumes @ share
        content = share * np.where(fitted > 0, total / np.maximum(fitted, 1e-300), 0)
        content[content.sum(axis=1) == 0] = share[content.sum(axis=1) == 0]
    return content / content.sum(axis=1, keepdims=True)


def _longest_edges(vertices):
    return np.linalg.norm(vertices[:, [0, 0, 0, 1, 1, 2]] - vertices[:, [1, 2, 3, 2, 3, 3]],
                          axis=2).max(axis=1)


def _parts(vertices, volumes, grid, longest):
    """Yield cell, flat index of the voxel, and volume [m3] of each part that lies on the grid.

    In groups of cells and small number types, as a body has tens of millions of parts.
    """
    wanted = np.ceil(SAMPLES_PER_VOXEL_EDGE * longest / grid.spacing.min()).astype(int)
    subdivision = np.clip(wanted, 2, MAX_SUBDIVISION)
    shape = np.array(grid.labels.shape)
    for m in np.unique(subdivision):
        barycentric = subdivided_centroids(m)
        cells = np.flatnonzero(subdivision == m).astype(np.int32)
        for part in np.array_split(cells, len(cells) * m**3 // POINTS_AT_ONCE + 1):
            # positions are linear in the corners, and so are indices
            index = np.rint(barycentric @ grid.index(vertices[part])).astype(np.int32)
            inside = np.all((index >= 0) & (index < shape), axis=-1)
            owner = np.broadcast_to(part[:, None], inside.shape)[inside]
            voxel = np.ravel_multi_index(tuple(index[inside].T), shape)
            yield owner, voxel.astype(np.int32), (volumes[owner] / m**3).astype(np.float32)


def _uncovered(grid, covered, reach):
    """Flat indices of body voxels without a part in them, and of the nearest voxels with one."""
    covered = (covered > 0).reshape(grid.labels.shape)
    bare = grid.body & ~covered
    if not bare.any() or not covered.any():
        return np.empty(0, int), np.empty(0, int)
    distance, nearest = distance_transform_edt(~covered, sampling=grid.spacing,
                                               return_indices=True)
    uncovered = np.flatnonzero(bare & (distance <= reach))
    return uncovered, np.ravel_multi_index(nearest.reshape(3, -1)[:, uncovered], covered.shape)


def subdivided_centroids(m: int) -> np.ndarray:
    """(m^3, 4) barycentric centroids of m^3 parts of equal volume of a tetrahedron.

    The tetrahedron 1 >= x >= y >= z >= 0 is the union of those of the 6 m^3 Kuhn simplices of an
    m x m x m grid that lie inside it.
    """
    corner = np.indices((m, m, m)).reshape(3, -1).T
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    steps = np.empty((6, 3))
    for row, order in zip(steps, orders, strict=True):
        row[order] = (0.75, 0.5, 0.25)
    points = (corner[:, None] + steps).reshape(-1, 3) / m
    x, y, z = points[(points[:, 0] > points[:, 1]) & (points[:, 1] > points[:, 2])].T
    return np.stack([1 - x, x - y, y - z, z], axis=1)


def _nearest_label(grid: _Grid, points: np.ndarray) -> np.ndarray:
    nearest = distance_transform_edt(~grid.body, sampling=grid.spacing,
                                     return_distances=False, return_indices=True)
    shape = np.array(grid.labels.shape)
    index = np.clip(np.rint(grid.index(points)).astype(int), 0, shape - 1)
    return grid.labels[tuple(nearest[(slice(None), *index.T)])]

"""Parts of the body that a mesh misses: sheets and tips thinner than its cells."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy

NEAREST = 24  # cells with the nearest centroids, among which the one around a voxel is searched
TOLERANCE = 0.05  # barycentric distance that a voxel's centre may lie outside of a cell
THICKNESS = 1.0  # voxels outside of the mesh beyond which a voxel is lost, not just rounded off
NAMED = 1e-3  # fraction of the body's volume above which lost parts are logged


def lost_voxels(points, cells, body, origin, spacing) -> np.ndarray:
    """(nx, ny, nz) bool: the voxels of a body that lie outside of a mesh of it.

    Voxels less than `THICKNESS` edges outside do not count: any smooth surface cuts them off the
    voxels' stairs.
    """
    index = np.argwhere(body)
    inside = np.zeros(body.shape, bool)
    inside[tuple(index.T)] = _inside(origin + index * spacing, points[cells])
    away = ndimage.distance_transform_edt(~inside, sampling=spacing)
    return body & (away > THICKNESS * spacing.max())


def lost_parts(points, cells, anatomy: Anatomy) -> tuple[np.ndarray, dict]:
    """`lost_voxels` of the body, and their volume [m3] by region; logged if above `NAMED`."""
    body = anatomy.body_mask
    lost = lost_voxels(points, cells, body, anatomy.affine[:3, 3], anatomy.spacing)
    volume = {name: float((lost & (anatomy.labels == region["label"])).sum()
                          * anatomy.voxel_volume) for name, region in anatomy.regions.items()}
    volume = {name: value for name, value in volume.items() if value}
    if lost.sum() > NAMED * body.sum():
        regions = ", ".join(f"{name} {1e6 * value:.2f} ml" for name, value in volume.items())
        log.warning("parts of the body too thin for the cells are cut away: %s, up to %.1f mm from "
                    "the mesh; more cells would keep them", regions, 1e3 * _farthest(body, lost,
                                                                                     anatomy))
    return lost, volume


def _farthest(body, lost, anatomy) -> float:
    """Largest distance of a lost voxel from those that are kept [m]."""
    return float(ndimage.distance_transform_edt(~(body & ~lost),
                                                sampling=anatomy.spacing)[lost].max())


def _inside(position, corners) -> np.ndarray:
    """(n,) bool, whether positions (n, 3) lie in any of the tetrahedra (m, 4, 3)."""
    tree = cKDTree(corners.mean(axis=1))
    base = corners[:, 0]
    inverse = np.linalg.inv(np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2))
    inside, undecided = np.zeros(len(position), bool), np.arange(len(position))
    for count in (4, NEAREST):  # most are found among the first few
        near = tree.query(position[undecided], min(count, len(corners)))[1].reshape(
            len(undecided), -1)
        for column in near.T:
            share = np.einsum("nij,nj->ni", inverse[column], position[undecided] - base[column])
            least = np.minimum(share.min(axis=1), 1 - share.sum(axis=1))
            inside[undecided[least > -TOLERANCE]] = True
        undecided = undecided[~inside[undecided]]
    return inside

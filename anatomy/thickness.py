"""Which part of the body is thick enough for a mesh to hold it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.records.anatomy import Anatomy

STEPS = 22  # a mesh draws the body on a grid of the cube root of its volume over this
THINNEST = 1.5  # steps of that grid; sheets and tips that are thinner are lost


def thick_part(anatomy: Anatomy) -> np.ndarray:
    """The body without its sheets, tips and sharp edges, (nx, ny, nz) bool.

    The morphological opening of the body by a ball, whose diameter is the thickness that a mesh of
    this body can hold. Holes that the body encloses count as body.
    """
    body = ndimage.binary_fill_holes(np.pad(anatomy.body_mask, 1))
    volume = body.sum() * anatomy.voxel_volume
    radius = 0.5 * THINNEST * max(volume ** (1 / 3) / STEPS, *anatomy.spacing)
    half = 0.5 * anatomy.spacing.min()  # from a voxel's centre to its face
    core = ndimage.distance_transform_edt(body, sampling=anatomy.spacing) - half >= radius
    if not core.any():
        return anatomy.body_mask
    near = ndimage.distance_transform_edt(~core, sampling=anatomy.spacing) - half <= radius
    return (near & body)[1:-1, 1:-1, 1:-1] & anatomy.body_mask


def within(anatomy: Anatomy, mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n,) bool, whether the voxel around each of the points (n, 3) [m] belongs to a mask."""
    index = np.rint(anatomy.index(points)).astype(int)
    inside = ((index >= 0) & (index < mask.shape)).all(axis=1)
    inside[inside] = mask[tuple(index[inside].T)]
    return inside

"""How deep the beam goes before the tissue has taken its power."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import inf

import numpy as np
from scipy import ndimage

from hifuflow.numerics.sphere import fibonacci_sphere
from hifuflow.records.anatomy import Anatomy

from .settings import AcousticTissue
from .transducer import Transducer

RAYS = 4000  # over the whole sphere
STEPS_PER_VOXEL = 2


def power_left(anatomy: Anatomy, foci: np.ndarray, frame: np.ndarray, depth: np.ndarray,
               device: Transducer, tissues: Mapping[str, AcousticTissue]) -> np.ndarray:
    """Part of a beam's power that straight rays bring to each depth, (n,).

    Over the rays of a beam that converges on a focus the mean of

        exp(-2 int alpha ds).

    Of all foci the one whose beam goes deepest counts. Behind a cut, and
    beside the label map, its nearest voxel goes on.

    Parameters
    ----------
    foci : (m, 3) patient's frame [m].
    frame : (3, 3), columns the beam's axes.
    depth : (n,) even steps along the beam, patient's frame: position @ frame[:, 2] [m].
    """
    ends = _outermost(foci @ frame)
    directions = fibonacci_sphere(RAYS)
    directions = directions[directions[:, 2] >= np.cos(device.half_angle)]
    slopes, step = directions[:, :2] / directions[:, 2:], (depth[1] - depth[0]) / directions[:, 2]
    alpha = _attenuation(anatomy, tissues, device.frequency)
    left = np.zeros(len(depth))
    for focus in ends:
        across = focus[:2] + (depth[:, None, None] - focus[2]) * slopes
        along = np.broadcast_to(depth[:, None, None], (*across.shape[:2], 1))
        position = np.concatenate([across, along], axis=2) @ frame.T
        index = np.rint(anatomy.index(position)).astype(int)
        index = np.clip(index, 0, np.array(anatomy.labels.shape) - 1)
        loss = np.cumsum(alpha[tuple(np.moveaxis(index, 2, 0))], axis=0) * step
        left = np.maximum(left, np.exp(-2 * loss).mean(axis=1))
    return left


def fading_depth(left: np.ndarray, depth: np.ndarray, part: float) -> float:
    """Depth at which that part of the power is left; inf if there is none."""
    faded = np.flatnonzero(left <= part)
    if not len(faded):
        return inf
    before = max(faded[0] - 1, 0)
    return float(np.interp(-np.log(part), -np.log(left[[before, faded[0]]]),
                           depth[[before, faded[0]]]))


def _outermost(foci: np.ndarray) -> np.ndarray:
    """Those of the foci (m, 3) that lie farthest in the directions of a cube's corners."""
    corners = np.array(list(product((-1, 1), repeat=3)))
    return foci[np.unique((foci @ corners.T).argmax(axis=0))]


def _attenuation(anatomy: Anatomy, tissues, frequency: float) -> np.ndarray:
    """(nx, ny, nz) attenuation of the amplitude [Np/m]; water takes nothing here."""
    table = anatomy.table({name: tissue.attenuation_at(frequency)
                           for name, tissue in tissues.items()}, 0.0)
    return table[continued(anatomy)]


def continued(anatomy: Anatomy) -> np.ndarray:
    """Labels with the voxels behind a cut filled from the nearest body voxel."""
    behind = ~anatomy.body_mask & ~anatomy.coupling
    if not behind.any():
        return anatomy.labels
    nearest = ndimage.distance_transform_edt(~anatomy.body_mask, sampling=anatomy.spacing,
                                             return_distances=False, return_indices=True)
    return np.where(behind, anatomy.labels[tuple(nearest)], anatomy.labels)

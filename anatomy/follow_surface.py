"""Constraint points that would lie outside of the body, brought in beneath its surface."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from hifuflow.records.anatomy import Anatomy

from .thickness import within

STEPS_PER_VOXEL = 4  # along the way from a point outside to the target
APART = 0.5  # voxels between points; of two that are nearer one is enough
PLACES = {"skin": "under the skin", "cut": "where the model is cut",
          "edge": "at the edge of the modelled part"}


def brought_in(anatomy: Anatomy, points: np.ndarray, held: np.ndarray,
               depth: float) -> tuple[np.ndarray, dict]:
    """Points (n, 3) [m], those outside moved straight towards the target until they are inside.

    They stop `depth` beneath the surface, or halfway to the target where that is nearer. Where the
    target itself is at the surface there is nothing to protect: they are dropped, as are those that
    come to lie on another point.

    Parameters
    ----------
    held : (nx, ny, nz) bool, where points may lie.  depth : beneath the surface [m].

    Returns
    -------
    points (m, 3), and how many were moved, by where the body ended, and "dropped".
    """
    outside = ~within(anatomy, held, points)
    counts = dict.fromkeys((*PLACES, "dropped"), 0)
    if not outside.any():
        return points, counts
    beneath = ndimage.distance_transform_edt(np.pad(held, 1), sampling=anatomy.spacing)
    beneath = beneath[1:-1, 1:-1, 1:-1] - 0.5 * anatomy.spacing.min()
    centres = anatomy.position(np.argwhere(anatomy.target_mask))
    nearest = centres[cKDTree(centres).query(points[outside])[1]]
    kept = [points[~outside]]
    for point, end in zip(points[outside], nearest, strict=True):
        found = _first_inside(anatomy, point, end, held & ~anatomy.target_mask, beneath, depth)
        spread = np.concatenate(kept)
        if found is None or (len(spread) and np.linalg.norm(spread - found, axis=1).min()
                             < APART * anatomy.spacing.min()):
            counts["dropped"] += 1
            continue
        kept.append(found[None])
        counts[_place(anatomy, point)] += 1
    return np.concatenate(kept), counts


def sentence(counts: dict, name: str, clearance: float) -> str:
    """What was done with the points of a constraint, in words; "" if nothing."""
    moved = [f"{counts[kind]} {place}" for kind, place in PLACES.items() if counts[kind]]
    if not moved and not counts["dropped"]:
        return ""
    gone = [f"{counts['dropped']} left out, the target itself or another point being there"]
    return (f"the body ends within {clearance * 1e3:g} mm of the target: of the points of the "
            f"constraint '{name}' " + ", ".join(moved + gone * bool(counts["dropped"])))


def _first_inside(anatomy, point, end, held, beneath, depth):
    """Where the way from a point to the target is first deep enough inside, (3,) [m], or None."""
    length = np.linalg.norm(end - point)
    count = int(np.ceil(STEPS_PER_VOXEL * length / anatomy.spacing.min())) + 1
    way = point + np.linspace(0, 1, count)[:, None] * (end - point)
    index = np.rint(anatomy.index(way)).astype(int)
    real = ((index >= 0) & (index < held.shape)).all(axis=1)
    way, index = way[real], tuple(index[real].T)
    target = np.flatnonzero(anatomy.target_mask[index])
    before = slice(target[0] if len(target) else None)
    inside = np.flatnonzero(held[index][before])
    if not len(inside):
        return None
    below = beneath[index][inside]
    return way[inside[below >= min(depth, below.max() / 2)][0]]


def _place(anatomy, point) -> str:
    """Key of `PLACES`: what is at a point outside."""
    index = np.rint(anatomy.index(point)).astype(int)
    nearest = tuple(np.clip(index, 0, np.array(anatomy.labels.shape) - 1))
    if (anatomy.coupling | anatomy.air)[nearest] or (
            anatomy.body_mask[nearest] and (index == nearest).all()):  # too thin to be meshed
        return "skin"
    return "edge" if anatomy.body_mask[nearest] else "cut"

"""Constraint points on surfaces of the anatomy: around the target, on organs, in the near field.

Each function gives many candidates (n, 3) [m]; `evenly` picks the points among them.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from hifuflow.records.anatomy import Anatomy

NEIGHBOURS = 27  # voxels among whose boxes the nearest one is looked for
PROJECTIONS = 6


def around_target(anatomy: Anatomy, distance: float) -> np.ndarray:
    """Points at a distance from the target's voxels [m], one for about each voxel of that shell."""
    target, spacing = anatomy.target_mask, anatomy.spacing
    pad = (np.ceil(distance / spacing) + 2).astype(int)
    from_target = ndimage.distance_transform_edt(
        ~np.pad(target, [(n, n) for n in pad]), sampling=spacing)
    near = np.abs(from_target - distance - spacing.max() / 2) <= spacing.max()
    points = anatomy.position(np.argwhere(near) - pad)
    centres = anatomy.position(np.argwhere(target))
    tree, half = cKDTree(centres), spacing / 2
    for _ in range(PROJECTIONS):
        closest, away, _ = _nearest_in_boxes(points, tree, centres, half)
        points = closest + distance * away
    gap = _nearest_in_boxes(points, tree, centres, half)[2]
    return points[np.abs(gap - distance) < 0.01 * distance]


def beneath(anatomy: Anatomy, outside: np.ndarray, depth: float) -> np.ndarray:
    """Centres of the body's voxels so deep [m] beneath a surface to `outside` (nx, ny, nz) bool."""
    if not outside.any():
        return np.zeros((0, 3))
    thickness = anatomy.spacing.max()
    below = ndimage.distance_transform_edt(~outside, sampling=anatomy.spacing) - thickness / 2
    layer = anatomy.body_mask & (np.abs(below - max(depth, thickness / 2)) <= thickness / 2)
    return anatomy.position(np.argwhere(layer))


def on_region(anatomy: Anatomy, name: str) -> np.ndarray:
    """Centres of a region's voxels that share a face with another region of the body."""
    region = anatomy.labels == anatomy.regions[name]["label"]
    rest = anatomy.body_mask & ~region
    return anatomy.position(np.argwhere(region & ndimage.binary_dilation(rest)))


def target_corners(anatomy: Anatomy) -> np.ndarray:
    """Corners (n, 3) of the target's voxels that span its convex hull [m]."""
    half = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), -1).reshape(-1, 3)
    corners = (np.argwhere(anatomy.target_mask)[:, None] + half).reshape(-1, 3)
    return anatomy.position(corners[ConvexHull(corners).vertices])


def in_beam(anatomy: Anatomy, points: np.ndarray, half_angle: float) -> np.ndarray:
    """Those of the points through which a beam to the target passes: that lie, seen from some
    corner of the target, within the cone of that angle to the beam's axis [rad]."""
    corners = target_corners(anatomy)
    passed, steep = np.zeros(len(points), bool), np.cos(half_angle)
    for corner in corners:
        ahead = corner - points
        passed |= ahead @ anatomy.axis >= steep * np.linalg.norm(ahead, axis=1)
    return points[passed]


def within_reach(anatomy: Anatomy, points: np.ndarray, reach: float) -> np.ndarray:
    """Those of the points whose distance from the target's voxel centres is at most `reach`."""
    if not len(points):
        return points
    tree = cKDTree(anatomy.position(np.argwhere(anatomy.target_mask)))
    return points[tree.query(points)[0] <= reach]


def evenly(points: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the points: from the first on, always the one farthest from all chosen
    (Gonzalez, Theoretical Computer Science 38, 1985)."""
    if len(points) <= count:
        return points
    chosen = [0]
    far = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


def _nearest_in_boxes(points, tree, centres, half):
    """Nearest points (n, 3) of the voxels' boxes, unit vectors away from them, distances (n,)."""
    boxes = centres[tree.query(points, k=min(NEIGHBOURS, len(centres)))[1].reshape(len(points), -1)]
    inside = np.clip(points[:, None], boxes - half, boxes + half)
    length = np.linalg.norm(points[:, None] - inside, axis=2)
    best = length.argmin(axis=1)
    row = np.arange(len(points))
    closest, length = inside[row, best], length[row, best]
    return closest, (points - closest) / np.maximum(length, 1e-12)[:, None], length

"""Distances between a mesh's surface and the voxels' surface that it represents, both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

NEAREST = 12  # faces or triangles with the nearest centres that are searched
SAMPLES = 2.0  # points per voxel edge on the mesh's surface


@dataclass(frozen=True)
class Distances:
    """Signed distances [m] of a mesh's surface from the voxels', positive outside the mask.

    Attributes
    ----------
    mean, rms, p95, worst : over the area of the mesh's surface; 95th percentile and maximum of the
        absolute value.
    missed, missed_p95 : maximum and 95th percentile of the distance of the voxels' faces from the
        mesh's surface.
    """

    mean: float
    rms: float
    p95: float
    worst: float
    missed: float
    missed_p95: float


def surface_distances(points, triangles, mask, origin, spacing,
                      counted=None) -> Distances | None:
    """Distances between a closed surface and the boundary of a voxel mask; None if no part counts.

    Parameters
    ----------
    points : (n, 3) [m].  triangles : (m, 3).
    mask : (nx, ny, nz) bool.  origin, spacing : (3,) centre of the first voxel, voxel size [m].
    counted : function of positions (n, 3) to (n,) bool, the part of both surfaces that counts;
        all by default.
    """
    centre, half = voxel_faces(mask, origin, spacing)
    samples, weight = surface_samples(points, triangles, spacing.min() / SAMPLES)
    if counted is not None:
        kept, shown = counted(samples), counted(centre)
        samples, weight = samples[kept], weight[kept]
    else:
        shown = np.ones(len(centre), bool)
    if not len(samples) or not shown.any():
        return None
    away = _to_boxes(samples, centre, half)
    index = np.rint((samples - origin) / spacing).astype(int)
    within = ((index >= 0) & (index < mask.shape)).all(axis=1)
    inside = np.zeros(len(samples), bool)
    inside[within] = mask[tuple(index[within].T)]
    signed = np.where(inside, -away, away)
    missed = _to_triangles(centre[shown], points, triangles)
    weight = weight / weight.sum()
    order = np.argsort(away)
    p95 = away[order[np.searchsorted(np.cumsum(weight[order]), 0.95)]]
    return Distances(float(signed @ weight), float(np.sqrt(away**2 @ weight)), float(p95),
                     float(away.max()), float(missed.max()), float(np.percentile(missed, 95)))


def voxel_faces(mask, origin, spacing):
    """Centres (n, 3) and half extents (n, 3) [m] of the voxel faces on the boundary of a mask."""
    padded, centres, halves = np.pad(mask, 1), [], []
    for axis in range(3):
        change = np.diff(padded.astype(np.int8), axis=axis) != 0
        index = np.argwhere(change) - 1.0
        index[:, axis] += 0.5
        half = spacing / 2
        half[axis] = 0.0
        centres.append(origin + index * spacing)
        halves.append(np.broadcast_to(half, index.shape))
    return np.concatenate(centres), np.concatenate(halves)


def surface_samples(points, triangles, edge):
    """Points (n, 3) [m] spread over triangles, and the area (n,) [m2] that each stands for.

    There is about one point for each square of the side `edge` [m].
    """
    corners = points[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0],
                                   corners[:, 2] - corners[:, 0]), axis=1) / 2
    parts = np.maximum(np.ceil(np.sqrt(area) / edge), 1).astype(int)
    samples, weight = [], []
    for m in np.unique(parts):
        chosen = parts == m
        i, j = np.indices((m, m)).reshape(2, -1)
        low = i + j < m
        high = i + j < m - 1
        u = np.concatenate([i[low] + 1 / 3, i[high] + 2 / 3]) / m
        v = np.concatenate([j[low] + 1 / 3, j[high] + 2 / 3]) / m
        a, b, c = (corners[chosen, k][:, None] for k in range(3))
        samples.append((a + u[:, None] * (b - a) + v[:, None] * (c - a)).reshape(-1, 3))
        weight.append(np.repeat(area[chosen] / m**2, m**2))
    return np.concatenate(samples), np.concatenate(weight)


def _to_boxes(samples, centre, half):
    """(n,) distance of points from the nearest of flat boxes."""
    near = cKDTree(centre).query(samples, k=min(NEAREST, len(centre)))[1].reshape(len(samples), -1)
    beyond = np.maximum(np.abs(samples[:, None] - centre[near]) - half[near], 0.0)
    return np.linalg.norm(beyond, axis=2).min(axis=1)


def _to_triangles(positions, points, triangles):
    """(n,) distance of positions from the nearest triangle (Ericson, Real-Time Collision
    Detection, 2005, 5.1.5: the closest point is in the plane, or on an edge)."""
    corners = points[triangles]
    near = cKDTree(corners.mean(axis=1)).query(
        positions, k=min(NEAREST, len(triangles)))[1].reshape(len(positions), -1)
    best = np.full(len(positions), np.inf)
    for column in near.T:
        a, b, c = (corners[column, k] for k in range(3))
        best = np.minimum(best, _to_triangle(positions, a, b, c))
    return best


def _to_triangle(p, a, b, c):
    normal = np.cross(b - a, c - a)
    length = np.maximum(np.linalg.norm(normal, axis=1), 1e-300)[:, None]
    normal = normal / length
    height = np.einsum("ij,ij->i", p - a, normal)
    foot = p - height[:, None] * normal
    inside = np.ones(len(p), bool)
    edges = np.full(len(p), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        along = end - start
        inside &= np.einsum("ij,ij->i", np.cross(along, foot - start), normal) >= 0
        share = np.einsum("ij,ij->i", p - start, along) / np.maximum(
            np.einsum("ij,ij->i", along, along), 1e-300)
        on_edge = start + np.clip(share, 0, 1)[:, None] * along
        edges = np.minimum(edges, np.linalg.norm(p - on_edge, axis=1))
    return np.where(inside, np.abs(height), edges)

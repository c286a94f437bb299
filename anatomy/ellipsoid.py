"""The smallest ellipsoid at a clearance around the target, and points spread evenly over it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from hifuflow.numerics.sphere import fibonacci_sphere

DIRECTIONS = 200  # of the balls put around the target's corners
SAMPLES_PER_POINT = 100
RELAXATIONS = 60


def clearance_ellipsoid(points, clearance: float):
    """Smallest ellipsoid that contains a ball of radius `clearance` around every point.

    Returns
    -------
    centre (3,), semi_axes (3,) descending [m], rotation (3, 3) with the axes as columns.
    """
    balls = (points[:, None] + clearance * fibonacci_sphere(DIRECTIONS)).reshape(-1, 3)
    hull = balls[ConvexHull(balls).vertices]
    centre, shape = minimum_volume_ellipsoid(hull)
    eigenvalues, vectors = np.linalg.eigh(shape)
    semi_axes, rotation = np.sqrt(eigenvalues[::-1]), vectors[:, ::-1]
    rotation = rotation * np.where(rotation[np.abs(rotation).argmax(axis=0), range(3)] < 0, -1, 1)
    # the balls were polyhedra: let the surface out until the true distance is reached
    local = (points - centre) @ rotation
    for _ in range(20):
        short = clearance - distance_to_ellipsoid(local, semi_axes).min()
        if abs(short) < 1e-9:
            break
        semi_axes = semi_axes + short
    return centre, semi_axes + 1e-9, rotation


def minimum_volume_ellipsoid(points, tolerance: float = 1e-5):
    """Ellipsoid {x: (x - c)' S^-1 (x - c) <= 1} of least volume around points (n, 3): c, S.

    Khachiyan's algorithm with away steps (Todd, Minimum-Volume Ellipsoids, SIAM, 2016).
    """
    n, d = points.shape
    offset, scale = points.mean(axis=0), np.ptp(points)
    lifted = np.column_stack([(points - offset) / scale, np.ones(n)])
    weight = np.full(n, 1 / n)
    for _ in range(20_000):
        inverse = np.linalg.inv(lifted.T @ (weight[:, None] * lifted))
        g = np.einsum("ij,jk,ik->i", lifted, inverse, lifted)
        top, low = g.argmax(), np.where(weight > 0, g, np.inf).argmin()
        if max(g[top] - d - 1, d + 1 - g[low]) < tolerance * (d + 1):
            break
        j = top if g[top] - d - 1 >= d + 1 - g[low] else low
        step = (g[j] - d - 1) / ((d + 1) * (g[j] - 1))
        step = max(step, -weight[j] / (1 - weight[j])) if weight[j] < 1 else step
        weight *= 1 - step
        weight[j] = max(weight[j] + step, 0)
    centre = weight @ lifted[:, :d]
    spread = lifted[:, :d] - centre
    shape = d * (spread.T @ (weight[:, None] * spread))
    # rescale so that every point is inside, whatever the tolerance left
    shape *= np.einsum("ij,jk,ik->i", spread, np.linalg.inv(shape), spread).max()
    return centre * scale + offset, shape * scale**2


def distance_to_ellipsoid(points, semi_axes):
    """Distance (n,) from points inside an axis-aligned ellipsoid to its surface.

    The nearest surface point is y_i = a_i^2 p_i / (a_i^2 + t) with t the root of
    sum (a_i p_i / (a_i^2 + t))^2 = 1 in (-a_min^2, 0], found by bisection.
    """
    p, a = np.abs(points), np.asarray(semi_axes)
    low, high = np.full(len(p), -a.min() ** 2), np.zeros(len(p))
    for _ in range(100):
        middle = (low + high) / 2
        outside = (((a * p) / np.maximum(a**2 + middle[:, None], 1e-30)) ** 2).sum(axis=1) > 1
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    nearest = a**2 * p / np.maximum(a**2 + high[:, None], 1e-30)
    # on the plane of symmetry across the shortest axis that component is free: complete it
    short = int(a.argmin())
    rest = 1 - ((np.delete(nearest, short, axis=1) / np.delete(a, short)) ** 2).sum(axis=1)
    nearest[:, short] = a[short] * np.sqrt(np.maximum(rest, 0))
    return np.linalg.norm(nearest - p, axis=1)


def spread_points(semi_axes, count: int) -> np.ndarray:
    """Unit vectors u (count, 3) such that u * semi_axes is spread evenly over the ellipsoid.

    Lloyd's relaxation: every point moves to the centroid of its share of the area, again and
    again, starting from the golden spiral.
    """
    samples = fibonacci_sphere(SAMPLES_PER_POINT * count)
    # area element of the ellipsoid over that of the sphere
    area = np.linalg.norm(samples / semi_axes, axis=1) * np.prod(semi_axes)
    on_surface, u = samples * semi_axes, fibonacci_sphere(count)
    for _ in range(RELAXATIONS):
        owner = cKDTree(u * semi_axes).query(on_surface)[1]
        share = np.bincount(owner, area, minlength=count)
        centroid = np.column_stack([np.bincount(owner, area * x, minlength=count)
                                    for x in on_surface.T]) / np.maximum(share, 1e-300)[:, None]
        moved = centroid / semi_axes
        length = np.linalg.norm(moved, axis=1)
        u = np.where((length > 1e-9)[:, None], moved / np.maximum(length, 1e-9)[:, None], u)
    return u

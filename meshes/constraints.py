"""Where normal tissue must stay cool: the points of all constraints.

The reference study's surface is the smallest ellipsoid that keeps its distance from the target:
the one of least volume that contains a ball of radius `clearance_mm` around every corner of every
target voxel, so that the target is at least that far inside. The others: `constraint_surfaces`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from hifuflow.artifacts import Anatomy
from hifuflow.errors import InputError
from hifuflow.job import log

from . import constraint_surfaces as surfaces

DIRECTIONS = 200  # of the balls put around the target's corners
SAMPLES_PER_POINT = 100
RELAXATIONS = 60
OTHER = "another constraints.surface (near_field, skin, region)"  # for targets near the skin


def place_constraints(anatomy: Anatomy, config: dict) -> dict:
    """Points of all constraints.

    Parameters
    ----------
    anatomy : segmented body.
    config : ``file`` (the patient file), ``constraints`` (each with its ``name``, ``key`` in that
        file, ``surface``, ``clearance_mm``, ``depth_mm``, ``reach_mm``, ``region``, ``points``,
        ``limit_c``, ``dose_limit_cem43_min``, ``soft``), ``device`` (for the near field:
        ``aperture_m``, ``radius_of_curvature_m``).

    Returns
    -------
    dict : per point, ``position_m`` (n, 3), ``limit_c``, ``name``, ``dose_limit_cem43_min`` (or
        None), ``soft`` (n); ``surfaces``, one for each constraint: {name, kind, n_points,
        evenness (smallest distance between neighbours over the mean one)} and, of an ellipsoid,
        {centre_m (3), semi_axes_m (3, descending), rotation (3, 3), its columns the principal
        axes}; ``surface``, the first of them.

    Raises
    ------
    InputError : points fall outside of the body, or there is no such surface.
    """
    found = {name: [] for name in ("position_m", "limit_c", "name", "dose_limit_cem43_min", "soft")}
    placed = []
    for constraint in config["constraints"]:
        points, shape = _points(anatomy, constraint, config)
        _check_inside(anatomy, points, constraint, config["file"])
        found["position_m"] += points.tolist()
        for key in ("limit_c", "name", "dose_limit_cem43_min", "soft"):
            found[key] += [constraint[key]] * len(points)
        placed.append({"name": constraint["name"], "kind": constraint["surface"],
                         "n_points": len(points), "evenness": _evenness(points), **shape})
        log.info("%d points of the constraint '%s'", len(points), constraint["name"])
    return {**found, "surface": placed[0], "surfaces": placed}


def _points(anatomy: Anatomy, constraint: dict, config: dict) -> tuple[np.ndarray, dict]:
    """Points (n, 3) of one constraint, and the shape of its surface where it has one."""
    clearance, count = constraint["clearance_mm"] * 1e-3, constraint["points"]
    kind = constraint["surface"]
    if kind == "ellipsoid":
        centre, semi_axes, rotation = clearance_ellipsoid(target_corners(anatomy), clearance)
        points = centre + spread_points(semi_axes, count) * semi_axes @ rotation.T
        return points, {"centre_m": centre.tolist(), "semi_axes_m": semi_axes.tolist(),
                        "rotation": rotation.tolist()}
    if kind == "distance":
        return surfaces.evenly(surfaces.around_target(anatomy, clearance), count), {}
    if kind == "region":
        points = (surfaces.on_region(anatomy, constraint["region"])
                  if constraint["region"] in anatomy.regions else np.zeros((0, 3)))
    else:
        water = anatomy.coupling
        outside = ~(anatomy.body_mask | water) if kind == "cut" else water
        points = surfaces.beneath(anatomy, outside, constraint["depth_mm"] * 1e-3)
        if kind == "near_field":
            points = surfaces.in_beam(anatomy, points, config["device"])
    points = surfaces.within_reach(anatomy, points, constraint["reach_mm"] * 1e-3)
    if not len(points):
        raise InputError(f"no part of the surface '{kind}' lies that near to the target",
                         file=config["file"], key=f"{constraint['key']}.reach_mm",
                         value=constraint["reach_mm"], allowed="a longer reach, or no such "
                         "constraint for this patient")
    return surfaces.evenly(points, count), {}


def _evenness(points: np.ndarray) -> float | None:
    if len(points) < 2:
        return None
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    return float(nearest.min() / nearest.mean())


def target_corners(anatomy: Anatomy) -> np.ndarray:
    """Corners (n, 3) of the target's voxels that span its convex hull [m]."""
    half = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), -1).reshape(-1, 3)
    corners = (np.argwhere(anatomy.target_mask)[:, None] + half).reshape(-1, 3)
    return anatomy.position(corners[ConvexHull(corners).vertices])


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


def fibonacci_sphere(n: int) -> np.ndarray:
    """n unit vectors (n, 3) on the golden spiral."""
    i = np.arange(n) + 0.5
    z, angle = 1 - 2 * i / n, np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z**2)
    return np.column_stack([r * np.cos(angle), r * np.sin(angle), z])


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


def _check_inside(anatomy, positions, constraint, file):
    """All points must lie in voxels of the body."""
    index = np.rint(anatomy.index(positions)).astype(int)
    in_grid = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    inside = np.zeros(len(positions), bool)
    inside[in_grid] = anatomy.body_mask[tuple(index[in_grid].T)]
    outside = int((~inside).sum())
    if outside == 0:
        return
    fault = {"file": file, "key": f"{constraint['key']}.clearance_mm",
             "value": constraint["clearance_mm"]}
    points = f"{outside} of {len(positions)} constraint points lie outside of the"
    edge = np.clip(index, 0, np.array(anatomy.labels.shape) - 1)
    beyond_crop = ~in_grid & anatomy.body_mask[tuple(edge.T)]
    if beyond_crop.sum() == outside:
        raise InputError(f"{points} part of the label map that is modelled", **fault,
                         allowed="a smaller clearance, a larger anatomy.crop_margin_mm, or a label "
                                 "map that reaches farther")
    body = np.pad(anatomy.body_mask, 1, mode="edge")  # past the edge the body may run on
    target = np.pad(anatomy.target_mask, 1)
    if (ndimage.binary_dilation(target, np.ones((3, 3, 3))) & ~body).any():
        raise InputError(f"{points} body: the target touches the body's surface, so that no "
                         "clearance fits", **fault,
                         allowed=f"a target with tissue all around it, or {OTHER}")
    depth = ndimage.distance_transform_edt(body, sampling=anatomy.spacing)[target].min()
    also = " and anatomy.crop_margin_mm wide enough for it" if beyond_crop.any() else ""
    raise InputError(f"{points} body", **fault,
                     allowed=f"a clearance that keeps the ellipsoid inside the body{also}, or "
                             f"{OTHER}; the target comes within {depth * 1e3:.1f} mm of the body's "
                             "surface")

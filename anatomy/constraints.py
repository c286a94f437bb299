"""Where normal tissue must stay cool: the points of all constraints.

The reference study's surface is the smallest ellipsoid that keeps its distance from the target:
the one of least volume that contains a ball, its radius the clearance, around every corner of every
target voxel, so that the target is at least that far inside. The others: `constraint_surfaces`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from hifuflow.job import log
from hifuflow.records.anatomy import Anatomy

from . import constraint_surfaces as surfaces
from .ellipsoid import clearance_ellipsoid, spread_points
from .settings import Constraint, ConstraintSettings

OTHER = "another constraints.surface (near_field, skin, region)"  # for targets near the skin


def place_constraints(anatomy: Anatomy, settings: ConstraintSettings) -> dict:
    """Points of all constraints, as `anatomy/constraints.json` holds them.

    Returns
    -------
    dict : per point, ``position_m`` (n, 3) [m], ``limit_c`` (n,) [degC], ``name`` (n,),
        ``dose_limit_cem43_min`` (n,) [CEM43 min] or None, ``soft`` (n,);
        ``surfaces``, one for each constraint: {name, kind, n_points,
        evenness (smallest distance between neighbours over the mean one)} and, of an ellipsoid,
        {centre_m (3), semi_axes_m (3, descending), rotation (3, 3), its columns the principal
        axes}; ``surface``, the first of them.

    Raises
    ------
    InputError : points fall outside of the body, or there is no such surface.
    """
    found = {name: [] for name in ("position_m", "limit_c", "name", "dose_limit_cem43_min", "soft")}
    placed = []
    for constraint in settings.constraints:
        points, shape = _points(anatomy, constraint, settings.half_angle)
        _check_inside(anatomy, points, constraint)
        found["position_m"] += points.tolist()
        for key, value in (("limit_c", constraint.limit), ("name", constraint.name),
                           ("dose_limit_cem43_min", constraint.dose_limit),
                           ("soft", constraint.soft)):
            found[key] += [value] * len(points)
        placed.append({"name": constraint.name, "kind": constraint.surface,
                       "n_points": len(points), "evenness": _evenness(points), **shape})
        log.info("%d points of the constraint '%s'", len(points), constraint.name)
    return {**found, "surface": placed[0], "surfaces": placed}


def _points(anatomy: Anatomy, constraint: Constraint,
            half_angle: float | None) -> tuple[np.ndarray, dict]:
    """Points (n, 3) of one constraint [m], and the shape of its surface where it has one."""
    clearance, count, kind = constraint.clearance, constraint.points, constraint.surface
    if kind == "ellipsoid":
        corners = surfaces.target_corners(anatomy)
        centre, semi_axes, rotation = clearance_ellipsoid(corners, clearance)
        points = centre + spread_points(semi_axes, count) * semi_axes @ rotation.T
        return points, {"centre_m": centre.tolist(), "semi_axes_m": semi_axes.tolist(),
                        "rotation": rotation.tolist()}
    if kind == "distance":
        return surfaces.evenly(surfaces.around_target(anatomy, clearance), count), {}
    if kind == "region":
        points = (surfaces.on_region(anatomy, constraint.region)
                  if constraint.region in anatomy.regions else np.zeros((0, 3)))
    else:
        free = anatomy.coupling | anatomy.air
        outside = {"cut": ~(anatomy.body_mask | free), "skin": free}.get(kind, anatomy.coupling)
        points = surfaces.beneath(anatomy, outside, constraint.depth)
        if kind == "near_field":
            points = surfaces.in_beam(anatomy, points, half_angle)
    points = surfaces.within_reach(anatomy, points, constraint.reach)
    if not len(points):
        raise constraint.written.error(
            f"no part of the surface '{kind}' lies that near to the target", "reach_mm",
            allowed="a longer reach, or no such constraint for this patient")
    return surfaces.evenly(points, count), {}


def _evenness(points: np.ndarray) -> float | None:
    if len(points) < 2:
        return None
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    return float(nearest.min() / nearest.mean())


def _check_inside(anatomy, positions, constraint: Constraint):
    """All points must lie in voxels of the body."""
    index = np.rint(anatomy.index(positions)).astype(int)
    in_grid = ((index >= 0) & (index < anatomy.labels.shape)).all(axis=1)
    inside = np.zeros(len(positions), bool)
    inside[in_grid] = anatomy.body_mask[tuple(index[in_grid].T)]
    outside = int((~inside).sum())
    if outside == 0:
        return
    fault = constraint.written.error
    points = f"{outside} of {len(positions)} constraint points lie outside of the"
    edge = np.clip(index, 0, np.array(anatomy.labels.shape) - 1)
    beyond_crop = ~in_grid & anatomy.body_mask[tuple(edge.T)]
    if beyond_crop.sum() == outside:
        raise fault(f"{points} part of the label map that is modelled", "clearance_mm",
                    allowed="a smaller clearance, a larger anatomy.crop_margin_mm, or a label "
                            "map that reaches farther")
    body = np.pad(anatomy.body_mask, 1, mode="edge")  # past the edge the body may run on
    target = np.pad(anatomy.target_mask, 1)
    if (ndimage.binary_dilation(target, np.ones((3, 3, 3))) & ~body).any():
        raise fault(f"{points} body: the target touches the body's surface, so that no clearance "
                    "fits", "clearance_mm",
                    allowed=f"a target with tissue all around it, or {OTHER}")
    depth = ndimage.distance_transform_edt(body, sampling=anatomy.spacing)[target].min()
    also = " and anatomy.crop_margin_mm wide enough for it" if beyond_crop.any() else ""
    raise fault(f"{points} body", "clearance_mm",
                allowed=f"a clearance that keeps the ellipsoid inside the body{also}, or {OTHER}; "
                        f"the target comes within {depth * 1e3:.1f} mm of the body's surface")

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
from .follow_surface import brought_in, sentence
from .settings import Constraint, ConstraintSettings
from .thickness import thick_part, within

LEAST_CLEARANCE = 1e-3  # that a patient file may ask for [m]
HALVINGS = 8  # in the search for a clearance that fits
SURELY = 0.95  # of what is found is named
NARROW = np.radians(10)  # beams narrower than this are not built: what they pass, all pass
FEWEST = 4  # points that tell anything of a surface


def place_constraints(anatomy: Anatomy, settings: ConstraintSettings) -> dict:
    """Points of all constraints, as `anatomy/constraints.json` holds them.

    No point lies where the body is too thin for a mesh to hold it. A constraint whose clearance was
    left to the default follows the body where that ends nearer to the target: see `brought_in`.

    Returns
    -------
    dict : per point, ``position_m`` (n, 3) [m], ``limit_c`` (n,) [degC], ``name`` (n,),
        ``dose_limit_cem43_min`` (n,) [CEM43 min] or None, ``soft`` (n,);
        ``surfaces``, one for each constraint: {name, kind, n_points,
        evenness (smallest distance between neighbours over the mean one)} and, of an ellipsoid,
        {centre_m (3), semi_axes_m (3, descending), rotation (3, 3), its columns the principal
        axes}; of one that follows the body {moved: how many points for which reason};
        ``surface``, the first of them; ``notes``, what a person should know, in words.

    Raises
    ------
    InputError : points fall outside of the body, or there is no such surface.
    """
    found = {name: [] for name in ("position_m", "limit_c", "name", "dose_limit_cem43_min", "soft")}
    placed, notes, held = [], [], thick_part(anatomy)
    for constraint in settings.constraints:
        points, shape = _points(anatomy, constraint, held, settings.half_angle)
        if constraint.follows and constraint.surface in ("ellipsoid", "distance"):
            points, moved = brought_in(anatomy, points, held, constraint.depth)
            shape["moved"] = moved
            notes += [note for note in [sentence(moved, constraint.name, constraint.clearance)]
                      if note]
            if len(points) < FEWEST:
                raise constraint.written.error(
                    f"only {len(points)} points have tissue around the target to lie in",
                    "surface", allowed="a target with tissue around it, or "
                    + _other_surfaces(anatomy, held, constraint))
        else:
            _check_inside(anatomy, points, held, constraint)
        found["position_m"] += points.tolist()
        for key, value in (("limit_c", constraint.limit), ("name", constraint.name),
                           ("dose_limit_cem43_min", constraint.dose_limit),
                           ("soft", constraint.soft)):
            found[key] += [value] * len(points)
        placed.append({"name": constraint.name, "kind": constraint.surface,
                       "n_points": len(points), "evenness": _evenness(points), **shape})
        log.info("%d points of the constraint '%s'", len(points), constraint.name)
    for note in notes:
        log.warning("%s", note)
    return {**found, "surface": placed[0], "surfaces": placed, "notes": notes}


def _points(anatomy: Anatomy, constraint: Constraint, held: np.ndarray,
            half_angle: float | None) -> tuple[np.ndarray, dict]:
    """Points (n, 3) of one constraint [m], and the shape of its surface where it has one."""
    if constraint.surface == "ellipsoid":
        return _on_ellipsoid(anatomy, constraint.clearance, constraint.points)
    if constraint.surface == "distance":
        points = surfaces.around_target(anatomy, constraint.clearance)
        return surfaces.evenly(points, constraint.points), {}
    points = _beneath_surface(anatomy, constraint, half_angle)
    thick = points[within(anatomy, held, points)]
    if not len(thick):
        raise constraint.written.error(
            f"no part of the surface '{constraint.surface}' lies that near to the target"
            + (", but where the body is too thin for a mesh" if len(points) else ""), "reach_mm",
            allowed="a longer reach, or no such constraint for this patient")
    if len(thick) < len(points):
        log.info("%d of %d places of the constraint '%s' are left out: the body is too thin there "
                 "for a mesh", len(points) - len(thick), len(points), constraint.name)
    return surfaces.evenly(thick, constraint.points), {}


def _on_ellipsoid(anatomy: Anatomy, clearance: float, count: int) -> tuple[np.ndarray, dict]:
    """Points (count, 3) on the smallest ellipsoid at a clearance [m], and its shape."""
    corners = surfaces.target_corners(anatomy)
    centre, semi_axes, rotation = clearance_ellipsoid(corners, clearance)
    points = centre + spread_points(semi_axes, count) * semi_axes @ rotation.T
    return points, {"centre_m": centre.tolist(), "semi_axes_m": semi_axes.tolist(),
                    "rotation": rotation.tolist()}


def _beneath_surface(anatomy: Anatomy, constraint: Constraint,
                     half_angle: float | None) -> np.ndarray:
    """Candidates (n, 3) [m] on a surface that the anatomy has of itself."""
    kind = constraint.surface
    if kind == "region":
        points = (surfaces.on_region(anatomy, constraint.region)
                  if constraint.region in anatomy.regions else np.zeros((0, 3)))
    else:
        free = anatomy.coupling | anatomy.air
        outside = {"cut": ~(anatomy.body_mask | free), "skin": free}.get(kind, anatomy.coupling)
        points = surfaces.beneath(anatomy, outside, constraint.depth)
        if kind == "near_field":
            points = surfaces.in_beam(anatomy, points, half_angle)
    return surfaces.within_reach(anatomy, points, constraint.reach)


def _evenness(points: np.ndarray) -> float | None:
    if len(points) < 2:
        return None
    nearest = cKDTree(points).query(points, k=2)[0][:, 1]
    return float(nearest.min() / nearest.mean())


def _check_inside(anatomy: Anatomy, points: np.ndarray, held: np.ndarray,
                  constraint: Constraint) -> None:
    """All points must lie in voxels of the body, where a mesh can hold it."""
    outside = ~within(anatomy, anatomy.body_mask, points)
    thin = ~within(anatomy, held, points) & ~outside
    if not (outside | thin).any():
        return
    fault, count = constraint.written.error, int(outside.sum())
    other = _other_surfaces(anatomy, held, constraint)
    if not count:
        raise fault(f"{int(thin.sum())} of {len(points)} constraint points lie where the body is "
                    "too thin for a mesh", "clearance_mm", allowed=f"auto, or {other}")
    text = f"{count} of {len(points)} constraint points lie outside of the"
    index = np.rint(anatomy.index(points)).astype(int)
    edge = np.clip(index, 0, np.array(anatomy.labels.shape) - 1)
    beyond_crop = (index != edge).any(axis=1) & anatomy.body_mask[tuple(edge.T)]
    smaller = _smaller_clearance(anatomy, held, constraint)
    if beyond_crop.sum() == count:
        raise fault(f"{text} part of the label map that is modelled", "clearance_mm",
                    allowed=f"auto{smaller}, a larger anatomy.crop_margin_mm, or a label map that "
                            "reaches farther")
    body = np.pad(anatomy.body_mask, 1, mode="edge")  # past the edge the body may run on
    target = np.pad(anatomy.target_mask, 1)
    if (ndimage.binary_dilation(target, np.ones((3, 3, 3))) & ~body).any():
        raise fault(f"{text} body: the target touches the body's surface, so that no clearance "
                    "fits", "clearance_mm", allowed=f"auto, which follows the surface, or {other}")
    depth = ndimage.distance_transform_edt(body, sampling=anatomy.spacing)[target].min()
    also = " (and anatomy.crop_margin_mm wide enough for it)" if beyond_crop.any() else ""
    raise fault(f"{text} body", "clearance_mm",
                allowed=f"auto, which follows the body's surface{smaller}{also}, or {other}; "
                        f"the target comes within {depth * 1e3:.1f} mm of the body's surface")


def _smaller_clearance(anatomy: Anatomy, held: np.ndarray, constraint: Constraint) -> str:
    """A clearance, to 0.1 mm, whose points all lie inside, in words; "" where none is found."""
    if constraint.surface == "distance":
        outside = np.pad(~held, 1, constant_values=True)
        away = ndimage.distance_transform_edt(~np.pad(anatomy.target_mask, 1),
                                              sampling=anatomy.spacing)
        clearance = away[outside].min() - anatomy.spacing.max()

        def points(clearance):
            return surfaces.around_target(anatomy, clearance)
    else:
        clearance = _shrunk(anatomy, held, constraint)

        def points(clearance):
            return _on_ellipsoid(anatomy, clearance, constraint.points)[0]

    clearance = np.floor(1e4 * SURELY * clearance) * 1e-4
    if clearance < LEAST_CLEARANCE or not within(anatomy, held, points(clearance)).all():
        return ""
    return f", or at most {clearance * 1e3:.1f} mm"


def _shrunk(anatomy: Anatomy, held: np.ndarray, constraint: Constraint) -> float:
    """Clearance at which the ellipsoid fits inside, if it shrinks evenly with the clearance [m]."""
    points, shape = _on_ellipsoid(anatomy, constraint.clearance, constraint.points)
    axes, rotation = np.array(shape["semi_axes_m"]), np.array(shape["rotation"])
    local = (points - shape["centre_m"]) @ rotation / axes
    low, high = 0.0, constraint.clearance
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        smaller = local * (axes - (constraint.clearance - middle)) @ rotation.T
        fits = within(anatomy, held, smaller + shape["centre_m"]).all()
        low, high = (middle, high) if fits else (low, middle)
    return low


def _other_surfaces(anatomy: Anatomy, held: np.ndarray, constraint: Constraint) -> str:
    """Those of the surfaces of another kind that this body has, in words."""
    there = []
    for kind, outside in (("near_field", anatomy.coupling),
                          ("skin", anatomy.coupling | anatomy.air)):
        points = surfaces.beneath(anatomy, outside, constraint.depth)
        if kind == "near_field":
            points = surfaces.in_beam(anatomy, points, NARROW)
        points = surfaces.within_reach(anatomy, points, constraint.reach)
        if within(anatomy, held, points).any():
            there.append(kind)
    return f"another constraints.surface ({', '.join([*there, 'region'])})"

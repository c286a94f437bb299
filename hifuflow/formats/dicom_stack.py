"""Planes of a DICOM series or multi-frame object put together to a volume, each by its own header.

DICOM PS3.3 C.7.6.2 (Image Plane Module): a plane's first pixel is at ImagePositionPatient, its
columns are ImageOrientationPatient[:3] * PixelSpacing[1] apart, its rows
ImageOrientationPatient[3:] * PixelSpacing[0]; in L, P, S and millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .image import LPS_TO_RAS

OFF_GRID = 0.1  # slices that a corner of a plane may lie before or behind its place
SIDEWAYS = 0.2  # pixels that it may lie beside it: positions are often rounded to 0.1 mm
DIGITS = 9  # after the point, of positions in millimetres
UNIT = 1e-3  # deviation of direction cosines from perpendicular unit vectors
TILTED = 1e-3  # sine of the angle between the stack and the planes' normal that is told
MOST_NAMED = 4  # planes in a message


@dataclass(frozen=True)
class Plane:
    """Where one slice or frame lies, by its own header.

    Attributes
    ----------
    name : for errors, its file or frame.
    position : (3,) of its first pixel [mm].
    orientation : (6,) directions of its rows and columns.
    spacing : (2,) between rows and between columns [mm].
    shape : (rows, columns).
    """

    name: str
    position: tuple
    orientation: tuple
    spacing: tuple
    shape: tuple


@dataclass(frozen=True)
class Stack:
    """A regular volume. `shape` (columns, rows, planes), `affine` (4, 4) index to R, A, S [m],
    `index` of each plane along the last axis."""

    shape: tuple
    affine: np.ndarray
    index: np.ndarray


def numbers(value, count: int, what: str, name: str, fault: dict) -> tuple:
    """`count` finite numbers of a DICOM element, or the error that it does not give them."""
    try:
        values = tuple(float(x) for x in value)
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{name} gives no {what}", **fault,
                         allowed="images whose headers place them in the patient")
    return values


def stacked(planes: list, fault: dict, distance: float | None = None,
            gaps: bool = False) -> Stack:
    """The volume that planes in any order make up.

    Its affine is the one that fits all positions best (least squares); every corner of every plane
    must lie within a fraction of a voxel of where it puts it. Planes that are shifted against each
    other by equal steps (a tilted gantry) make a sheared affine.

    Parameters
    ----------
    distance : of the planes by the header [mm], if there is one; it counts where `gaps` may be.
    gaps : planes may be left out.

    Raises
    ------
    InputError : the planes differ in size, spacing or orientation, lie in one place, or are not
        at equal distances.
    """
    first = _common(planes, fault)
    right, down = np.array(first.orientation).reshape(2, 3)
    normal = np.cross(right, down)
    positions = np.array([plane.position for plane in planes])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    steps = np.diff(depth[order])
    step = _step(steps, distance, gaps)
    _check_distances(planes, order, steps, step, gaps, fault)
    index = np.zeros(len(planes), int)
    index[order[1:]] = np.cumsum(np.rint(steps / step)) if len(steps) else 0
    along, origin = _line(index, positions, step * normal)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([right * first.spacing[1], down * first.spacing[0], along])
    affine[:3, 3] = origin
    _check_corners(planes, index, affine, normal, fault)
    sideways = np.linalg.norm(np.cross(along, normal)) / max(np.linalg.norm(along), 1e-9)
    if len(planes) > 1 and sideways > TILTED:
        log.info("%s: its slices are shifted against each other, as by a gantry tilted by %.3g "
                 "degrees: a sheared volume", fault["file"], np.degrees(np.arcsin(sideways)))
    affine = LPS_TO_RAS @ affine
    affine[:3] *= 1e-3
    return Stack((first.shape[1], first.shape[0], int(index.max()) + 1), affine, index)


def _step(steps, distance, gaps) -> float:
    """Distance of neighbouring planes [mm]."""
    if not len(steps):
        return distance or 0.0
    if not gaps:
        return float(np.median(steps))
    least = float(steps.min())
    return distance if distance and least > 1.5 * distance and _whole(steps / distance) else least


def _common(planes, fault) -> Plane:
    """One plane for all: they have the same size, spacing and orientation."""
    for what, name, allowed in (("Rows and Columns", "shape", 0), ("PixelSpacing", "spacing", 1e-3),
                                ("ImageOrientationPatient", "orientation", UNIT)):
        values = np.array([getattr(plane, name) for plane in planes])
        usual = np.median(values, axis=0)
        odd = np.flatnonzero((np.abs(values - usual) > allowed).any(axis=1))
        if len(odd):
            raise InputError(
                f"its slices differ in {what}: {_text(usual)}, but {_text(values[odd[0]])} in "
                f"{_listed([planes[k] for k in odd])}", **fault,
                allowed="one volume: slices of one size, spacing and orientation")
    first = planes[0]
    right, down = np.array(first.orientation).reshape(2, 3)
    if np.abs([right @ right - 1, down @ down - 1, right @ down]).max() > UNIT:
        raise InputError(f"ImageOrientationPatient {_text(first.orientation)} of {first.name} is "
                         "no pair of perpendicular unit vectors", **fault,
                         allowed="images whose headers place them in the patient")
    if min(first.spacing) <= 0:
        raise InputError(f"PixelSpacing {_text(first.spacing)} of {first.name}", **fault,
                         allowed="two positive distances")
    return first


def _text(values) -> str:
    return "\\".join(f"{value:.6g}" for value in values)  # as DICOM writes several values


def _listed(planes) -> str:
    more = f" and {len(planes) - MOST_NAMED} more" if len(planes) > MOST_NAMED else ""
    return ", ".join(plane.name for plane in planes[:MOST_NAMED]) + more


def _whole(ratios) -> bool:
    """Nearly whole; positions are often rounded, and each is held against its place later."""
    return bool((np.abs(ratios - np.rint(ratios)) <= 0.3).all())


def _check_distances(planes, order, steps, step, gaps, fault) -> None:
    """Planes one behind the other, none missing and no two in one place."""
    together = np.flatnonzero(steps <= max(OFF_GRID * step, 1e-6))
    if together.size:
        both = [planes[order[k]] for k in (together[0], together[0] + 1)]
        raise InputError(f"{_listed(both)} lie in one place ({together.size} such pairs)", **fault,
                         allowed="one volume: a single phase, echo or reconstruction")
    if not gaps and len(steps) and not _whole(steps / step):
        raise InputError(f"the distance of its slices varies from {steps.min():.4g} to "
                         f"{steps.max():.4g} mm, or slices are missing", **fault,
                         allowed="a complete series of slices at equal distances")
    far = np.flatnonzero(np.rint(steps / step) > 1) if len(steps) and not gaps else ()
    if len(far):
        where = _listed([planes[order[far[0]]], planes[order[far[0] + 1]]])
        missing = int((np.rint(steps / step) - 1)[far].sum())
        raise InputError(f"{missing} slices are missing, the first between {where}, {step:.4g} mm "
                         "apart elsewhere", **fault,
                         allowed="a complete series of slices at equal distances")


def _line(index, positions, along):
    """Step and start of the straight line that fits all positions best."""
    if index.max() == 0:
        return along, positions[0]
    terms = np.column_stack([index, np.ones(len(index))])
    return np.linalg.lstsq(terms, positions, rcond=None)[0].round(DIGITS)


def _check_corners(planes, index, affine, normal, fault) -> None:
    """Every corner of every plane is where the affine puts it."""
    edges = np.linalg.norm(affine[:3, :2], axis=0)
    deep = abs(affine[:3, 2] @ normal) or np.inf
    worst = np.zeros((len(planes), 2))
    for number, (plane, k) in enumerate(zip(planes, index, strict=True)):
        right, down = np.array(plane.orientation).reshape(2, 3)
        for i, j in ((0, 0), (plane.shape[1] - 1, 0), (0, plane.shape[0] - 1)):
            own = (np.array(plane.position) + i * plane.spacing[1] * right
                   + j * plane.spacing[0] * down)
            beside = own - (affine[:3, :3] @ [i, j, k] + affine[:3, 3])
            off = (abs(beside @ normal) / deep, np.abs(beside @ affine[:3, :2] / edges**2).max())
            worst[number] = np.maximum(worst[number], off)
    for what, allowed, off in (("its distance", OFF_GRID, worst[:, 0]),
                               ("sideways", SIDEWAYS, worst[:, 1])):
        if off.max() > allowed:
            raise InputError(f"its slices are no regular volume: {planes[int(off.argmax())].name} "
                             f"lies {off.max():.2g} voxels beside its place, by {what}", **fault,
                             allowed="slices at equal distances, shifted by equal steps, within "
                                     f"{allowed:g} voxels")

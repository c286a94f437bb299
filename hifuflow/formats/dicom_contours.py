"""DICOM structure sets (RTSTRUCT): contours, drawn on slices, as label maps.

DICOM PS3.3 C.8.8.6 (ROI Contour Module). Contours of one structure in one plane are combined by
exclusive or: one inside another is a hole, whether it is drawn apart or joined by a keyhole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .contour_planes import Planes, voxels_of
from .image import LPS_TO_RAS, Image, Segment
from .layers import packed

AREAS = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR", "INTERPOLATED_PLANAR")
PIXEL = 1.0  # edge of the pixels of a structure set without its scan [mm]
PAD = 2  # pixels around its contours
OFF_PLANE = 0.1  # slices that the points of a contour may lie apart
SAME_PLANE = 0.01  # distance of contours in one plane, without a scan to tell its slices [mm]
PARALLEL = 1e-3  # deviation of unit vectors
MILLIMETRES = np.diag([1e3, 1e3, 1e3, 1.0])


@dataclass(frozen=True)
class Structure:
    """A structure's name and its closed contours, arrays (n, 3) in L, P, S and mm."""

    name: str
    contours: tuple


def open_contours(path, header, key, scan: Image | None = None) -> Image:
    """A structure set by its header; see `formats.images.open_image`.

    On the scan's grid, if there is one. Otherwise the slices are where the contours are, in pixels
    of 1 mm. A structure's label is its place in the file, from 1, its ``ROIName`` its name.
    Structures that overlap others stand in further layers.

    Parameters
    ----------
    scan : image of the series that it was drawn on.

    Raises
    ------
    InputError : contours that cannot be read, not in the slices' planes, or wholly beside them.
    """
    fault = {"file": path, "key": key}
    structures = _structures(header, fault)
    if not any(one.contours for one in structures):
        raise InputError(f"none of its {len(structures)} structures has a closed contour", **fault,
                         allowed="a structure set with contours drawn on slices")
    affine, shape = _own_grid(structures, fault) if scan is None else (
        LPS_TO_RAS @ MILLIMETRES @ scan.affine, scan.shape)
    to_index = np.linalg.inv(affine)
    planes = [_planes(one, to_index, fault) if one.contours else None for one in structures]
    for one, drawn in zip(structures, planes, strict=True):
        if drawn is not None:
            _check_inside(one.name, drawn, shape, fault)

    def read():
        return packed((voxels_of(drawn, number, shape, f"{path}: structure '{one.name}'")
                       for number, (one, drawn) in enumerate(zip(structures, planes, strict=True),
                                                             1) if drawn is not None), shape)

    segments = tuple(Segment(number, one.name) for number, one in enumerate(structures, 1))
    placed = LPS_TO_RAS @ affine
    placed[:3] *= 1e-3
    return Image(Path(path), "DICOM RTSTRUCT", shape, placed, read, segments, key=key,
                 record={"grid": "its own" if scan is None else "of the series beside it"},
                 sparse=scan is None)


def _structures(header, fault) -> list[Structure]:
    """All structures in the order of the file."""
    drawn: dict = {}
    for item in header.get("ROIContourSequence") or []:
        drawn.setdefault(int(item.ReferencedROINumber), []).extend(item.get("ContourSequence")
                                                                   or [])
    found = []
    for roi in header.get("StructureSetROISequence") or []:
        number, name = int(roi.ROINumber), str(roi.get("ROIName", "")).strip()
        contours, kinds = [], set()
        for contour in drawn.pop(number, []):
            kind = str(contour.get("ContourGeometricType", "")).strip()
            points = _points(contour, name, fault)
            if kind in AREAS and len(points) > 2:
                contours.append(points)
            else:
                kinds.add(f"{kind or 'no type'} of {len(points)} points")
        if kinds:
            log.warning("%s: of structure '%s' what is no area is left out: %s", fault["file"],
                        name, ", ".join(sorted(kinds)[:4]))
        found.append(Structure(name, tuple(contours)))
    if drawn:
        raise InputError(f"contours of structures that it does not name: {sorted(drawn)}", **fault,
                         allowed="a structure set whose contours refer to its own structures")
    return found


def _points(contour, name, fault) -> np.ndarray:
    """(n, 3) corners of one contour; the last is not the first once more."""
    try:
        values = np.array([float(x) for x in contour.ContourData])
        count = int(contour.get("NumberOfContourPoints") or len(values) // 3)
    except (TypeError, ValueError, AttributeError):
        values, count = np.empty(0), -1
    if len(values) != 3 * count or not np.isfinite(values).all():
        raise InputError(f"a contour of structure '{name}' holds {len(values)} numbers where its "
                         f"header tells of {count} points, or some are none", **fault,
                         allowed="three finite numbers for each point")
    points = values.reshape(-1, 3)
    return points[:-1] if count > 1 and (points[0] == points[-1]).all() else points


def _own_grid(structures, fault):
    """Affine (4, 4), index to L, P, S [mm], and shape of a grid on the contours' own planes."""
    contours = [points for one in structures for points in one.contours]
    normals = np.array([_area(points) for points in contours])
    size = np.linalg.norm(normals, axis=1)
    normal = normals[size.argmax()] / size.max() if size.max() > 0 else np.array([0, 0, 1.0])
    normal *= np.sign(normal[np.abs(normal).argmax()])
    axis = np.eye(3)[np.abs(normal).argmax()]
    normal = axis if np.abs(normal - axis).max() <= PARALLEL else normal
    right = np.eye(3)[1 if abs(normal[0]) > 0.9 else 0]
    right = right - (right @ normal) * normal
    right /= np.linalg.norm(right)
    turn = np.column_stack([right, np.cross(normal, right), normal])
    inner = [points @ turn for points in contours]
    depths = np.unique(np.concatenate([points[:, 2] for points in inner]))
    depths = depths[np.r_[True, np.diff(depths) > SAME_PLANE]]
    if len(depths) < 2:
        raise InputError("all its contours lie in one plane: how thick the slice is, nothing tells",
                         **fault, allowed="the folder with the structure set and its series")
    steps = np.diff(depths)
    step = float(np.median(steps))
    low = np.min([points.min(axis=0) for points in inner], axis=0)
    high = np.max([points.max(axis=0) for points in inner], axis=0)
    edges = np.array([PIXEL, PIXEL, step])
    affine = np.eye(4)
    affine[:3, :3] = turn * edges
    start = low - edges * [PAD, PAD, 1]
    affine[:3, 3] = turn @ start
    size = np.ceil((high - start) / edges - 1e-6) + np.array([PAD + 1, PAD + 1, 2])
    shape = tuple(size.astype(int).tolist())
    log.info("%s: a structure set without its series: on slices %.4g mm apart, where its contours "
             "are, in pixels of %g mm. In one folder with the series it gets the series' grid",
             fault["file"], step, PIXEL)
    return affine, shape


def _area(points) -> np.ndarray:
    """Area of a polygon times its normal."""
    spread = points - points[0]
    return np.cross(spread, np.roll(spread, -1, axis=0)).sum(axis=0) / 2


def _planes(structure, to_index, fault) -> Planes:
    """A structure's contours plane by plane, in voxels."""
    held = []
    for points in structure.contours:
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        if np.ptp(index[:, 2]) > OFF_PLANE:
            raise InputError(
                f"a contour of structure '{structure.name}' at {_place(points)} lies across "
                f"{np.ptp(index[:, 2]):.2g} slices", **fault,
                allowed="contours in the planes of the slices that they were drawn on")
        held.append((float(index[:, 2].mean()), index[:, :2]))
    return Planes.of(held)


def _place(points) -> str:
    return "({:.1f}, {:.1f}, {:.1f}) mm (L, P, S)".format(*points[0])


def _check_inside(name, drawn, shape, fault) -> None:
    """Contours beside the scan are those of another one."""
    corners = np.concatenate([points for contours in drawn.contours for points in contours])
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.array(shape)
    beside = (high < -0.5) | (low > size[:2] - 0.5)
    if beside.any() or drawn.at[-1] < -0.5 or drawn.at[0] > size[2] - 0.5:
        raise InputError(f"structure '{name}' lies wholly beside the series", **fault,
                         allowed="a structure set with the series that it was drawn on")
    if (low < -0.5).any() or (high > size[:2] - 0.5).any() or (
            drawn.at[0] < -0.5 or drawn.at[-1] > size[2] - 0.5):
        log.warning("%s: structure '%s' reaches beyond the series; what lies there is left out",
                    fault["file"], name)

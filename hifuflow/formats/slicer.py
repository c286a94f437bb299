"""What 3D Slicer adds to an NRRD header: named segments, and the scan that they were drawn on.

Format: 3D Slicer's documentation, "Segmentations", "Segmentation file format (.seg.nrrd)".
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .image import Segment

OFFSET = "Segmentation_ReferenceImageExtentOffset"
PARAMETERS = "Segmentation_ConversionParameters"
GEOMETRY = "Reference image geometry"
FRAMES = (np.eye(3), np.diag([-1.0, -1.0, 1.0]))  # files have it in R, A, S or in L, P, S
PARALLEL = 1e-3  # sine of an angle
OFF_GRID = 0.1  # voxels


def segments(header: dict, layers: int, fault: dict) -> tuple:
    """Segments by the fields ``SegmentN_Name``, ``_LabelValue`` and ``_Layer``.

    Older versions give each segment a layer and no label value.

    Raises
    ------
    InputError : a label value or layer is no whole number.
    """
    found = []
    for field, name in header.items():
        match = re.fullmatch(r"Segment(\d+)_Name", field)
        if match:
            number, segment = int(match[1]), f"Segment{match[1]}"
            layer = _whole(header, f"{segment}_Layer", number if layers > 1 else 0, fault)
            label = _whole(header, f"{segment}_LabelValue", 1 if layers > 1 else number + 1, fault)
            found.append((number, Segment(label, name.strip(), layer)))
    return tuple(segment for _, segment in sorted(found, key=lambda pair: pair[0]))


def _whole(header, field, default, fault) -> int:
    try:
        return int(header.get(field, default))
    except ValueError as error:
        raise InputError(f"the header's {field} is '{header[field]}'", **fault,
                         allowed="a whole number") from error


def missing_background(header: dict, shape, affine, fault: dict):
    """Voxels of empty scan that a segmentation of minimum extent leaves out.

    Parameters
    ----------
    shape, affine : of the file's voxels; (4, 4) index to position (R, A, S) [mm].

    Returns
    -------
    padding : (3, 2) voxels before and behind along each axis; or None: the file is cut to its
        segments, and does not tell how far the scan reached.

    Raises
    ------
    InputError : offset and geometry of the scan contradict each other or are no numbers.
    """
    if OFFSET not in header:
        return np.zeros((3, 2), int)
    offset = _numbers(header[OFFSET], 3, OFFSET, fault)
    text = next((part.split("|")[1] for part in header.get(PARAMETERS, "").split("&")
                 if part.startswith(GEOMETRY) and part.count("|")), None)
    if text is None:
        if not offset.any():
            return np.zeros((3, 2), int)
        log.warning("%s: cut to its segments, and its header does not tell the scan's extent: "
                    "where it ends, the scan counts as ended", fault["file"])
        return None
    values = _numbers(text.replace(";", " "), 22, GEOMETRY, fault)
    scan, extent = values[:16].reshape(4, 4), values[16:].reshape(3, 2)
    corners = np.array(list(itertools.product(*(extent + np.array([-0.5, 0.5])))))
    for frame in FRAMES:
        turn = np.linalg.inv(affine[:3, :3]) @ frame @ scan[:3, :3]
        size = np.diag(turn)
        if (size > 0).all() and (np.abs(turn - np.diag(size)) <= PARALLEL * size).all():
            inner = (frame @ (scan[:3, :3] @ corners.T + scan[:3, 3:])).T
            index = (inner - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
            low, high = index.min(axis=0) + 0.5, index.max(axis=0) + 0.5
            before, behind = -low, high - shape
            first = offset - extent[:, 0] / size
            break
    else:
        raise InputError(f"the header's {GEOMETRY} is turned against its voxels", **fault,
                         allowed="a segmentation on the grid of its scan: save it again")
    if (np.abs(before - first) > OFF_GRID).any() and (np.abs(size - 1) < PARALLEL).all():
        raise InputError(f"the header's {OFFSET} is {header[OFFSET]}, but by its {GEOMETRY} the "
                         f"voxels begin {' '.join(f'{x:.4g}' for x in before)} voxels into the "
                         "scan", **fault, allowed="a header of one place: save it again")
    padding = np.maximum(np.rint(np.column_stack([before, behind])), 0).astype(int)
    if padding.any():
        log.info("%s: cut to its segments; the rest of the scan's %s voxels is background",
                 fault["file"], " x ".join(map(str, shape + padding.sum(axis=1))))
    return padding


def _numbers(text, count, field, fault):
    try:
        values = np.array(text.split(), float)
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"the header's {field} is '{text}'", **fault, allowed=f"{count} numbers")
    return values

"""DICOM segmentations (DICOM-SEG), whose empty frames most writers leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .dicom_frames import frames_of, group, pixels_of, plane_of, understood
from .dicom_stack import stacked
from .image import Image, Segment

PROBABLE = 0.5  # of a FRACTIONAL segmentation's largest value: the voxel belongs to the segment
SAME_PLACE = 4  # decimals of a millimetre
KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def open_dicom_seg(path, header, key) -> Image:
    """A DICOM segmentation by its header; see `formats.images.open_image`.

    A segment's number in the segment sequence is its label, its ``SegmentLabel`` is its name.
    Segments that overlap others stand in further layers. Frames that are left out are background.
    """
    fault = {"file": path, "key": key}
    groups = frames_of(header)
    planes = [plane_of(header, held, Path(path).name, frame, fault)
              for frame, held in enumerate(groups)]
    segments = tuple(Segment(int(item.SegmentNumber), str(item.SegmentLabel).strip())
                     for item in header.SegmentSequence)
    kind = str(header.SegmentationType)
    full = float(header.MaximumFractionalValue) if kind == "FRACTIONAL" else 1.0
    of_frame = _segments_of(groups, kind, segments, fault)
    distance = group(groups[0], "PixelMeasuresSequence").get("SpacingBetweenSlices")
    distance = abs(float(distance)) if distance else None
    places = {_place(plane): plane for plane in planes}
    stack = stacked(list(places.values()), fault, distance, gaps=True)
    index = dict(zip(places, stack.index, strict=True))
    at = np.array([index[_place(plane)] for plane in planes])
    before, behind, known = _left_out(header, groups, at, stack.shape[2])
    affine = stack.affine.copy()
    affine[:3, 3] -= affine[:3, 2] * before
    shape = (*stack.shape[:2], stack.shape[2] + before + behind)
    if kind == "FRACTIONAL":
        log.info("%s: a FRACTIONAL segmentation (%s); values of at least %g count as the segment",
                 path, header.get("SegmentationFractionalType", "of no kind"), PROBABLE)

    def read():
        with understood(path, key):
            frames = pixels_of(Path(path), len(planes), fault)
        if not known and frames[(at == at.min()) | (at == at.max())].any():
            log.warning("%s: its header does not tell how far the scan reached beyond its first "
                        "and last frame; there the scan counts as ended. Saved with all frames, or "
                        "as NIfTI or NRRD on the scan's grid, it would tell", path)
        if kind == "LABELMAP":
            volume = np.zeros(shape[::-1], np.uint16)
            volume[at + before] = frames
            return [volume.T]
        if before or behind:
            log.info("%s: %d frames before and %d behind are left out: background", path, before,
                     behind)
        return _painted(frames >= PROBABLE * full, at + before, of_frame, segments, shape)

    return Image(Path(path), "DICOM-SEG", shape, affine, read, segments, key=key, sparse=not known)


def _left_out(header, groups, at, planes: int):
    """Empty planes before and behind the stored ones: of the scan that the header refers to.

    The header lists the scan's slices without their positions, and each frame names its own slice.
    Where the list runs along the planes, a frame's place in it tells how many come before.

    Returns
    -------
    before, behind : int.  known : bool, whether the header tells.
    """
    listed = [str(item.ReferencedSOPInstanceUID)
              for series in header.get("ReferencedSeriesSequence") or []
              for item in series.get("ReferencedInstanceSequence") or []]
    if len(listed) == planes:
        return 0, 0, True
    sources = [_source(held) for held in groups]
    if planes < 2 or len(listed) < planes or not set(sources) <= set(listed):
        return 0, 0, False
    for order in (listed, sorted(listed, key=_parts)):
        rank = np.array([order.index(source) for source in sources])
        for first in (rank - at, len(listed) - 1 - rank - at):
            if (first == first[0]).all() and 0 <= first[0] <= len(listed) - planes:
                return int(first[0]), int(len(listed) - planes - first[0]), True
    return 0, 0, False


def _source(groups) -> str:
    """The slice that a frame was drawn on."""
    derived = group(groups, "DerivationImageSequence")
    return str(group([derived], "SourceImageSequence").get("ReferencedSOPInstanceUID", ""))


def _parts(uid: str) -> list:
    return [int(part) if part.isdigit() else -1 for part in uid.split(".")]


def _segments_of(groups, kind, segments, fault) -> list:
    """The segment of each frame; a LABELMAP has them in its pixels."""
    if kind not in KINDS:
        raise InputError(f"its SegmentationType is {kind}", **fault, allowed=", ".join(KINDS))
    if kind == "LABELMAP":
        return [None] * len(groups)
    found = [int(group(held, "SegmentIdentificationSequence").ReferencedSegmentNumber)
             for held in groups]
    unknown = set(found) - {segment.label for segment in segments}
    if unknown:
        raise InputError(f"frames of segments that it does not name: {sorted(unknown)}", **fault,
                         allowed="a segmentation whose frames refer to its own segments")
    return found


def _place(plane) -> tuple:
    return tuple(np.round(plane.position, SAME_PLACE).tolist())


def _painted(masks, at, of_frame, segments, shape) -> list:
    """Segments (frames, rows, columns) in as few layers as their overlaps take."""
    layers: list = []  # by plane, row, column: as the frames are
    for segment in segments:
        frames = [(mask, k) for number, mask, k in zip(of_frame, masks, at, strict=True)
                  if number == segment.label]
        free = next((layer for layer in layers
                     if not any(layer[k][mask].any() for mask, k in frames)), None)
        if free is None:
            free = np.zeros(shape[::-1], np.uint16)
            layers.append(free)
        for mask, k in frames:
            free[k][mask] = segment.label
    return [layer.T for layer in layers]

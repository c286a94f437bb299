"""DICOM segmentations (DICOM-SEG) through highdicom."""

from __future__ import annotations

import logging
import warnings

import numpy as np

from hifuflow.errors import InputError

from .image import Image, Segment, unreadable

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
logging.getLogger("highdicom").setLevel(logging.ERROR)


def open_dicom_seg(path, key) -> Image:
    """Header of a DICOM segmentation; see `formats.images.open_image`.

    A segment's number in the segment sequence is its label, its ``SegmentLabel`` is its name.
    Segments that overlap others stand in further layers.
    """
    import highdicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings(action="ignore"):
            file = highdicom.seg.segread(path)
            geometry = file.get_volume_geometry(allow_missing_positions=True)
    except (OSError, InvalidDicomError) as error:
        raise unreadable(error, path, key) from error
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"not a usable DICOM segmentation: {error}", file=path, key=key,
                         allowed="a DICOM-SEG object; a scan goes, as a folder that holds its "
                                 "series, into anatomy.image") from error
    if geometry is None:
        raise InputError("the frames do not form a regular volume", file=path, key=key,
                         allowed="a segmentation with parallel slices at equal distances")
    affine = LPS_TO_RAS @ geometry.affine
    affine[:3] *= 1e-3
    numbers = [int(item.SegmentNumber) for item in file.SegmentSequence]
    names = tuple(Segment(number, str(item.SegmentLabel).strip())
                  for number, item in zip(numbers, file.SegmentSequence, strict=True))

    def read():
        with warnings.catch_warnings(action="ignore"):
            try:
                return [file.get_volume(combine_segments=True, dtype=np.uint16).array]
            except RuntimeError:  # segments overlap; the failed look-up leaves the file locked
                return _separate(highdicom.seg.segread(path), numbers)

    return Image(path, "DICOM-SEG", tuple(geometry.spatial_shape), affine, read, names, key=key)


def _separate(file, numbers) -> list:
    """Overlapping segments in as few layers as it takes."""
    layers: list = []
    for number in numbers:
        mask = file.get_volume(segment_numbers=[number], combine_segments=True,
                               dtype=np.uint16).array > 0
        free = next((layer for layer in layers if not layer[mask].any()), None)
        if free is None:
            free = np.zeros(mask.shape, np.uint16)
            layers.append(free)
        free[mask] = number
    return layers

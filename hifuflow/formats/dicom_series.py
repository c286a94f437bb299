"""DICOM images: a folder with one series, or an enhanced multi-frame file, through pydicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .dicom_contours import open_contours
from .dicom_frames import (
    TROUBLE,
    frames_of,
    group,
    pixels_of,
    plane_of,
    read_dicom,
    understood,
)
from .dicom_seg import open_dicom_seg
from .dicom_stack import MOST_NAMED, stacked
from .image import Image, is_dicom, unreadable
from .side_files import SEGMENTATIONS, STRUCTURES

NOT_IMAGES = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "REG", "FID")
ALLOWED = "a folder with the files of one series and nothing else"


def open_file(path, key) -> Image:
    """Header of one DICOM file: a segmentation, contours, or a volume in enhanced frames."""
    with understood(path, key):
        header = read_dicom(path, stop_before_pixels=True)
        if header.get("SOPClassUID") == STRUCTURES:
            return open_contours(path, header, key)
        if header.get("SOPClassUID") in SEGMENTATIONS:
            return open_dicom_seg(path, header, key)
        if "PerFrameFunctionalGroupsSequence" not in header:
            raise InputError("not a usable DICOM segmentation, nor a volume in frames: it is a "
                             f"single {header.get('Modality', 'DICOM')} object", file=path, key=key,
                             allowed="a DICOM-SEG or RTSTRUCT object or an enhanced multi-frame "
                                     "image; a scan goes, as a folder that holds its series, into "
                                     "anatomy.image")
        return volume(path, [(Path(path), header)], key)


def open_series(path, key) -> Image:
    """Header of the one DICOM series in a folder; see `formats.images.open_image`."""
    return volume(path, slices_of(path, read_folder(path, key), key), key)


def read_folder(path, key) -> list:
    """(file, header) of each DICOM file of a folder; files of other kinds are named in the log.

    Raises
    ------
    InputError : a DICOM file cannot be read: it may be a slice.
    """
    found, strange = [], []
    for file in sorted(entry for entry in Path(path).iterdir() if entry.is_file()):
        claims = is_dicom(file) or file.suffix.lower() in (".dcm", ".ima")
        try:
            found.append((file, read_dicom(file, stop_before_pixels=True)))
        except TROUBLE as error:
            if claims:
                raise unreadable(f"{file.name}: {error}", path, key) from error
            strange.append(file.name)
    _tell(path, "not DICOM", strange)
    return found


def slices_of(path, found, key) -> list:
    """(file, header) of each slice of the one DICOM series among those of a folder.

    Localizers among the slices and objects that are no images, such as structure sets, are left
    out and named in the log.

    Raises
    ------
    InputError : the folder holds no series or several.
    """
    with understood(path, key):
        images = [one for one in found if is_image(one[1])]
        slices = [one for one in images if "LOCALIZER" not in _kinds(one[1])] or images
        _tell(path, "no images", _names(found, images))
        _tell(path, "localizers", _names(images, slices))
        series = {str(header.get("SeriesInstanceUID", "")) for _, header in slices}
        if len(series) != 1:
            raise InputError(f"the folder holds {len(series)} DICOM series", file=path, key=key,
                             allowed=ALLOWED)
        return _without_copies(path, slices)


def is_image(header) -> bool:
    """Whether a DICOM object is an image, not a segmentation, a plan or a dose."""
    return ("Rows" in header and header.get("Modality") not in NOT_IMAGES
            and header.get("SOPClassUID") not in SEGMENTATIONS)


def _names(held, kept) -> list:
    kept = {file for file, _ in kept}
    return [file.name for file, _ in held if file not in kept]


def _tell(path, kind, names) -> None:
    if names:
        log.info("%s: left out, since they are %s: %s", path, kind,
                 ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else ""))


def _kinds(header) -> list:
    kinds = header.get("ImageType") or []
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _without_copies(path, slices):
    """The same instance twice, as after copying a folder into itself, counts once."""
    kept = {}
    for file, header in slices:
        name = header.get("SOPInstanceUID", file)
        if name not in kept:
            kept[name] = (file, header)
            continue
        one, other = (read_dicom(same).get("PixelData")
                      for same in (kept[name][0], file))
        if one != other:
            raise InputError(f"{kept[name][0].name} and {file.name} are one instance with two "
                             "contents", file=path, allowed=ALLOWED)
        log.info("%s: %s is a copy of %s", path, file.name, kept[name][0].name)
    return list(kept.values())


def volume(path, files, key) -> Image:
    """The volume of all slices and frames of these (file, header) pairs."""
    fault = {"file": path, "key": key}
    planes, values, counts = [], [], []
    for file, header in files:
        frames = frames_of(header)
        counts.append(len(frames))
        for frame, groups in enumerate(frames):
            planes.append(plane_of(header, groups, file.name, frame, fault))
            values.append(_rescale(groups))
    _check_values(path, files[0][1])
    places = {str(header.get("FrameOfReferenceUID", "")) for _, header in files}
    if len(places) > 1:
        raise InputError(f"its slices have {len(places)} frames of reference", **fault,
                         allowed="slices of one examination, without moving the patient")
    stack = stacked(planes, fault)

    def read():
        volume, number = np.empty(stack.shape[::-1], np.float32), 0
        with understood(path, key):
            for (file, _), count in zip(files, counts, strict=True):
                for frame in pixels_of(file, count, fault):
                    slope, intercept = values[number]
                    volume[stack.index[number]] = frame * slope + intercept
                    number += 1
        return [volume.T]

    name = "DICOM series" if Path(path).is_dir() else "DICOM multi-frame"
    return Image(Path(path), name, stack.shape, stack.affine, read, key=key)


def _rescale(groups) -> tuple[float, float]:
    """Slope and intercept from stored to physical values (Hounsfield units of a CT)."""
    item = group(groups, "PixelValueTransformationSequence")
    return float(item.get("RescaleSlope", 1)), float(item.get("RescaleIntercept", 0))


def _check_values(path, header) -> None:
    if header.get("Modality") == "CT" and "RescaleIntercept" not in group(
            frames_of(header)[0], "PixelValueTransformationSequence"):
        log.warning("%s: its header gives no RescaleIntercept: its values are as stored, and may "
                    "not be Hounsfield units", path)

"""The DICOM series that objects made here refer to: its slices in order, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError

from .dicom_frames import frames_of, plane_of, read_dicom, understood
from .dicom_series import open_file, read_folder, slices_of, volume
from .image import LPS_TO_RAS, Image

MUST_TELL = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
             "FrameOfReferenceUID", "Modality")
MAY_BE_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID",
                "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
                "PositionReferenceIndicator")
BESIDE = 0.5 + 1e-3  # voxels: a centre so far beside the outermost ones is still in the volume
ALLOWED = "the series that the segmentation was drawn on, complete"


@dataclass(frozen=True)
class DicomSource:
    """`image`, its grid; `headers`, one data set for each slice in the order of the image's last
    axis, or the one of a file in frames; `index` of each slice or frame along that axis."""

    image: Image
    headers: list
    index: np.ndarray


def open_source(path, key: str) -> DicomSource:
    """The headers of a series in a folder, or of an enhanced multi-frame file.

    Raises
    ------
    InputError : it cannot be read, or does not tell what an object that refers to it must repeat.
    """
    path, fault = Path(path), {"file": path, "key": key}
    if path.is_dir():
        slices = slices_of(path, read_folder(path, key), key)
        image, headers = volume(path, slices, key), [one for _, one in slices]
    else:
        image = open_file(path, key)
        with understood(path, key):
            headers = [read_dicom(path, stop_before_pixels=True)]
    for header in headers:
        missing = [name for name in MUST_TELL if not header.get(name)]
        if missing:
            raise InputError(f"its headers give no {', '.join(missing)}: nothing can refer to it",
                             **fault, allowed="a complete DICOM series; or export: "
                                              "{dicom_series: none}")
        for name in MAY_BE_EMPTY:
            if name not in header:
                setattr(header, name, "")
    with understood(path, key):
        places = [plane_of(header, groups, path.name, frame, fault).position
                  for header in headers for frame, groups in enumerate(frames_of(header))]
    affine = LPS_TO_RAS @ image.affine
    index = np.linalg.solve(affine[:3, :3], (np.array(places) * 1e-3 - affine[:3, 3]).T)[2]
    index = np.rint(index).astype(int)
    if path.is_dir():
        order = np.argsort(index)
        headers, index = [headers[k] for k in order], index[order]
    return DicomSource(image, headers, index)


def check_holds(image: Image, positions: np.ndarray, what: str) -> None:
    """Refuse a series that a structure lies beside, in whole or in part.

    Parameters
    ----------
    positions : (n, 3) of its voxels [m].  what : the structure in words.

    Raises
    ------
    InputError : some of them lie beside the series.
    """
    index = np.linalg.solve(image.affine[:3, :3], (positions - image.affine[:3, 3]).T).T
    beside = ((index < -BESIDE) | (index > np.array(image.shape) - 1 + BESIDE)).any(axis=1)
    if beside.any():
        raise InputError(f"{int(beside.sum())} of the {what}'s {len(beside)} voxels lie beside the "
                         "series", file=image.file, key=image.key, allowed=ALLOWED)

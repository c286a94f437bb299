"""Slices and frames of DICOM objects: where each lies, and its pixels, through pydicom."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from hifuflow.errors import InputError

from .dicom_stack import Plane, numbers
from .image import unreadable

# What pydicom and its decoders stumble over.
TROUBLE = (OSError, ValueError, AttributeError, KeyError, TypeError, IndexError, RuntimeError,
           NotImplementedError, InvalidDicomError, BytesLengthException)
logging.getLogger("pydicom").setLevel(logging.ERROR)


@contextmanager
def understood(path, key):
    """Whatever pydicom stumbles over in the block is the error that the file cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except TROUBLE as error:
        raise unreadable(error, path, key) from error


def read_dicom(file, **options):
    """A DICOM data set; also of the old files that have no preamble.

    Raises
    ------
    InvalidDicomError : it is none.
    """
    with warnings.catch_warnings(action="ignore"):
        data = pydicom.dcmread(file, force=True, **options)
    if "SOPClassUID" not in data:
        raise InvalidDicomError("not a DICOM file")
    return data


def frames_of(header) -> list:
    """The functional groups of each frame, own before shared; of a single slice its header."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [[header]]
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    return [[own, *shared] for own in header.PerFrameFunctionalGroupsSequence]


def group(groups, sequence: str):
    """First item of a functional group's sequence; of a single slice its header."""
    for held in groups:
        if held.get(sequence):
            return held[sequence][0]
    return groups[0] if len(groups) == 1 else pydicom.Dataset()


def plane_of(header, groups, file_name: str, frame: int, fault: dict) -> Plane:
    """Where one slice or frame lies.

    Raises
    ------
    InputError : the header does not tell.
    """
    several = "PerFrameFunctionalGroupsSequence" in header
    name = f"frame {frame + 1} of {file_name}" if several else file_name
    values = [numbers(group(groups, sequence).get(element), count, element, name, fault)
              for sequence, element, count in (
                  ("PlanePositionSequence", "ImagePositionPatient", 3),
                  ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
                  ("PixelMeasuresSequence", "PixelSpacing", 2))]
    return Plane(name, *values, (int(header.Rows), int(header.Columns)))


def pixels_of(file, count: int, fault: dict) -> np.ndarray:
    """Stored values of the frames of a file, (frames, rows, columns)."""
    data = read_dicom(file)
    if int(data.get("SamplesPerPixel", 1)) != 1:
        raise InputError(f"{file.name} has {data.SamplesPerPixel} values a pixel", **fault,
                         allowed="an image of one number a voxel")
    try:
        pixels = data.pixel_array
    except TROUBLE as error:
        pixels = _decoded_by_itk(file, data, error)
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    if pixels.shape != (count, data.Rows, data.Columns):
        raise InputError(f"{file.name} holds pixels of the shape {pixels.shape}", **fault,
                         allowed="as many frames, rows and columns as its header tells of")
    return pixels


def _decoded_by_itk(file, data, reason=""):
    """Compressions that pydicom has no decoder for; ITK has already rescaled the values."""
    import SimpleITK as sitk

    if not data.file_meta.TransferSyntaxUID.is_compressed or (
            "PerFrameFunctionalGroupsSequence" in data):
        raise ValueError(f"the pixels of {Path(file).name} cannot be decoded: {reason}")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(file), sitk.sitkFloat64))
    return (values - float(data.get("RescaleIntercept", 0))) / float(data.get("RescaleSlope", 1))

"""NRRD, 3D Slicer's segmentations, MetaImage and DICOM series through SimpleITK."""

from __future__ import annotations

import re

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .images import META, NRRD, Image, Segment, unreadable

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def open_itk(path, key) -> Image:
    """Header of an NRRD or MetaImage file, or of a folder that holds one DICOM series.

    ITK's positions are L, P, S in millimetres. Segments of 3D Slicer are named by the header's
    fields ``SegmentN_Name``, ``_LabelValue`` and ``_Layer``; overlapping ones stand in layers.
    """
    reader = _series(path, key) if path.is_dir() else sitk.ImageFileReader()
    if not path.is_dir():
        reader.SetFileName(str(path))
    try:
        header = reader.Execute() if path.is_dir() else _header(reader)
    except RuntimeError as error:
        raise unreadable(error, path, key) from error
    if not path.is_dir():
        _check_orientation(reader, path, key)
    shape = tuple(header.GetSize())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = np.eye(4)
    if len(shape) == 3:  # anything else is refused by its shape
        n = header.GetDimension()
        directions = np.reshape(header.GetDirection(), (n, n))[:3, :3]
        affine[:3, :3] = directions * np.array(header.GetSpacing())[:3]
        affine[:3, 3] = header.GetOrigin()[:3]
    affine = LPS_TO_RAS @ affine
    affine[:3] *= 1e-3
    layered = header.GetNumberOfComponents() if hasattr(header, "GetNumberOfComponents") \
        else header.GetNumberOfComponentsPerPixel()
    kind = "DICOM series" if path.is_dir() else "NRRD" if path.name.endswith(NRRD) else "MetaImage"

    def read():
        image = header if path.is_dir() else reader.Execute()
        data = sitk.GetArrayFromImage(image)  # z, y, x and then the layer
        if layered == 1:
            return [data.reshape(shape[::-1]).transpose(2, 1, 0)]
        return [data[..., i].reshape(shape[::-1]).transpose(2, 1, 0) for i in range(layered)]

    names = () if path.is_dir() else _names(reader, layered)
    return Image(path, kind, shape, affine, read, names, key=key)


def _header(reader):
    reader.ReadImageInformation()
    return reader


def _series(path, key):
    """Reader of the one DICOM series in a folder."""
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if len(series) != 1:
        raise InputError(f"the folder holds {len(series)} DICOM series", file=path, key=key,
                         allowed="a folder with the files of one series and nothing else")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))
    return reader


def _check_orientation(reader, path, key) -> None:
    """ITK takes missing directions for L, P, S: refuse a header that does not give them."""
    text = _header_text(path)
    if path.name.lower().endswith(META):
        if re.search(r"^(TransformMatrix|Orientation|Rotation)\s*=", text, re.MULTILINE):
            return
        missing = "TransformMatrix"
    else:
        unit = re.search(r"^space units:(.*)$", text, re.MULTILINE)
        wrong = set(re.findall(r'"([^"]*)"', unit[1])) - {"mm", ""} if unit else ()
        if wrong:
            raise InputError(f"lengths in {', '.join(sorted(wrong))}", file=path, key=key,
                             allowed="an NRRD file in mm")
        if reader.HasMetaDataKey("NRRD_space") and (
                reader.GetMetaData("NRRD_space") == "left-posterior-superior"):
            return  # ITK brings the other anatomical spaces to this one
        missing = "space and space directions"
    raise InputError(f"the header gives no orientation: it has no anatomical {missing}", file=path,
                     key=key, allowed="a file whose header tells left from right; save it again "
                                      "with the scan that it was drawn on")


def _header_text(path) -> str:
    """First part of the file; header and voxels may share it."""
    with open(path, "rb") as stream:
        head = stream.read(1_000_000)
    for end in (b"\n\n", b"\r\n\r\n"):
        head = head.split(end)[0] if head[:4] == b"NRRD" else head
    return head.decode("latin-1").replace("\r\n", "\n")


def _names(reader, layers) -> tuple:
    """Segments as 3D Slicer writes them; older versions give each a layer and no label value."""
    found = []
    for key in reader.GetMetaDataKeys():
        match = re.fullmatch(r"Segment(\d+)_Name", key)
        if match:
            number = int(match[1])

            def value(field, default, number=number):
                name = f"Segment{number}_{field}"
                return int(reader.GetMetaData(name)) if reader.HasMetaDataKey(name) else default

            layer = value("Layer", number if layers > 1 else 0)
            label = value("LabelValue", 1 if layers > 1 else number + 1)
            name = _utf8(reader.GetMetaData(key)).strip()
            found.append((number, Segment(label, name, layer)))
    return tuple(segment for _, segment in sorted(found, key=lambda pair: pair[0]))


def _utf8(text: str) -> str:
    """SimpleITK hands bytes that are not UTF-8 on as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

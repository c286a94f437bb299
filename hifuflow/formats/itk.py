"""NRRD, 3D Slicer's segmentations, MetaImage and DICOM series through SimpleITK."""

from __future__ import annotations

import re

import numpy as np
import SimpleITK as sitk

from hifuflow.errors import InputError

from .image import META, NRRD, Image, Segment, unreadable

UNEVEN = "ITK_non_uniform_sampling_deviation"  # ITK marks such a series with it
MOST_UNEVEN = 0.01  # of the slices' distance
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def open_itk(path, key) -> Image:
    """Header of an NRRD or MetaImage file; see `formats.images.open_image`.

    Segments of 3D Slicer are named by the header's fields ``SegmentN_Name``, ``_LabelValue`` and
    ``_Layer``; overlapping ones stand in layers.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(error, path, key) from error
    _check_orientation(reader, path, key)
    count = reader.GetNumberOfComponents()
    shape, affine = _geometry(reader)
    kind = "NRRD" if path.name.lower().endswith(NRRD) else "MetaImage"
    return Image(path, kind, shape, affine, lambda: _layers(reader.Execute(), shape, count),
                 _names(reader, count, path, key), key=key)


def open_series(path, key) -> Image:
    """The one DICOM series in a folder; its voxels are read at once."""
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if len(series) != 1:
        raise InputError(f"the folder holds {len(series)} DICOM series", file=path, key=key,
                         allowed="a folder with the files of one series and nothing else")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))
    reader.SetSpacingWarningRelThreshold(MOST_UNEVEN)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(error, path, key) from error
    if image.HasMetaDataKey(UNEVEN):
        raise InputError("the distance of its slices varies, or slices are missing", file=path,
                         key=key, allowed="a complete series of slices at equal distances")
    count = image.GetNumberOfComponentsPerPixel()
    shape, affine = _geometry(image)
    return Image(path, "DICOM series", shape, affine, lambda: _layers(image, shape, count), key=key)


def _geometry(header):
    """Shape and affine; ITK's positions are L, P, S in millimetres."""
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
    return shape, affine


def _layers(image, shape, count):
    """Components of an image as arrays of that shape; SimpleITK's are z, y, x, component."""
    data = sitk.GetArrayFromImage(image).reshape(*shape[::-1], count)
    return [data[..., i].transpose() for i in range(count)]


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


def _names(reader, layers, path, key) -> tuple:
    """Segments as 3D Slicer writes them; older versions give each a layer and no label value."""
    found = []
    for entry in reader.GetMetaDataKeys():
        match = re.fullmatch(r"Segment(\d+)_Name", entry)
        if match:
            number = int(match[1])
            segment, fault = f"Segment{number}", {"file": path, "key": key}
            layer = _whole(reader, f"{segment}_Layer", number if layers > 1 else 0, fault)
            label = _whole(reader, f"{segment}_LabelValue", 1 if layers > 1 else number + 1, fault)
            name = _utf8(reader.GetMetaData(entry)).strip()
            found.append((number, Segment(label, name, layer)))
    return tuple(segment for _, segment in sorted(found, key=lambda pair: pair[0]))


def _whole(reader, field, default, fault) -> int:
    """Whole number in a field of the header, or the default if there is no such field."""
    if not reader.HasMetaDataKey(field):
        return default
    text = reader.GetMetaData(field)
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"the header's {field} is '{text}'", **fault,
                         allowed="a whole number") from error


def _utf8(text: str) -> str:
    """SimpleITK hands bytes that are not UTF-8 on as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

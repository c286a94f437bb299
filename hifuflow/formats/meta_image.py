"""MetaImage, the format of ITK (.mha, and .mhd with its voxels in other files).

Definition: https://itk.org/Wiki/ITK/MetaIO/Documentation. Positions are L, P, S, as ITK has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .compressed import ZLIB, fitting, inflated
from .image import LPS_TO_RAS, Image, unreadable
from .side_files import side_files
from .slicer import segments

HEADER_BYTES = 1_000_000
LAST = "ElementDataFile"
TYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
         "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
         "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
METRES = {"mm": 1e-3, "cm": 1e-2, "um": 1e-6, "m": 1.0, "?": 1e-3}
TURNS = ("TransformMatrix", "Rotation", "Orientation")
ORIGINS = ("Offset", "Position", "Origin")
EDGES = ("ElementSpacing", "ElementSize")


def open_meta(path, key) -> Image:
    """Header of a MetaImage file; see `formats.images.open_image`."""
    fault = {"file": path, "key": key}
    header, start = _header(path, fault)
    if not {"NDims", "DimSize", "ElementType", LAST} <= set(header):
        raise unreadable("no MetaImage header", path, key)
    count = _numbers(header, ("NDims",), 1, fault)[0]
    size = _numbers(header, ("DimSize",), int(count), fault).astype(int)
    if header["ElementType"].removesuffix("_ARRAY") not in TYPES:
        raise InputError(f"ElementType = {header['ElementType']}", **fault,
                         allowed=", ".join(TYPES))
    shape = tuple(int(n) for n in size)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = _affine(header, len(size), fault) if len(shape) == 3 else np.eye(4)
    return Image(path, "MetaImage", shape, affine,
                 lambda: _layers(path, header, shape, start, fault),
                 segments(header, int(header.get("ElementNumberOfChannels", 1)), fault), key=key)


def _header(path, fault):
    """Keys and values up to `ElementDataFile`, and where the voxels begin."""
    header = {}
    with open(path, "rb") as stream:
        while LAST not in header and stream.tell() < HEADER_BYTES:
            line = stream.readline(HEADER_BYTES).decode("utf-8", "replace")
            name, sign, value = line.partition("=")
            if not sign:
                if line.strip() or not line:
                    break
                continue
            if name.strip() in header:
                raise InputError(f"the header gives {name.strip()} twice", **fault,
                                 allowed="each key once")
            header[name.strip()] = value.strip()
        return header, stream.tell()


def _numbers(header, names, count, fault):
    """Numbers of the first of these keys that the header has."""
    name = next((name for name in names if name in header), None)
    if name is None:
        raise InputError(f"the header gives no place in the patient: it has no {names[0]}",
                         **fault, allowed="a header with voxel size, orientation and offset; save "
                                          "it again with the scan that it was drawn on")
    try:
        values = np.array(header[name].split(), float)
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all() or (
            name in ("NDims", "DimSize") and ((values < 1) | (values % 1 != 0)).any()):
        raise InputError(f"{name} = {header[name]}", **fault, allowed=f"{count} numbers")
    return values


def _affine(header, dimensions, fault):
    """Voxel index to R, A, S [m]."""
    turn = _numbers(header, TURNS, dimensions**2, fault).reshape(dimensions, dimensions)
    spacing = _numbers(header, EDGES, dimensions, fault)[:3]
    if (spacing <= 0).any():
        raise InputError(f"voxels of {' x '.join(f'{x:g}' for x in spacing)}", **fault,
                         allowed="three positive voxel edges")
    unit = header.get("DistanceUnits", "?")
    if unit not in METRES:
        raise InputError(f"DistanceUnits = {unit}", **fault, allowed=", ".join(METRES))
    if unit == "?":
        log.info("%s: the header names no unit of length; taken as mm", fault["file"])
    affine = np.eye(4)
    affine[:3, :3] = turn[:3, :3].T * spacing  # a row of the matrix is an axis of the image
    affine[:3, 3] = _numbers(header, ORIGINS, dimensions, fault)[:3]
    affine = LPS_TO_RAS @ affine
    affine[:3] *= METRES[unit]
    return affine


def _layers(path, header, shape, start, fault):
    """The components of the voxels as arrays of that shape."""
    yes = {name for name, value in header.items() if value.strip().lower() in ("true", "1")}
    big = yes & {"BinaryDataByteOrderMSB", "ElementByteOrderMSB"}
    dtype = np.dtype((">" if big else "<") + TYPES[header["ElementType"].removesuffix("_ARRAY")])
    components = int(header.get("ElementNumberOfChannels", 1))
    size = int(np.prod(shape, dtype=np.int64)) * components * dtype.itemsize
    local = header[LAST].upper() == "LOCAL"
    content = b""
    for file in [Path(path)] if local else side_files(path):
        here = {**fault, "file": file}
        with open(file, "rb") as stream:
            skip = int(header.get("HeaderSize", 0))
            stream.seek(max(skip, 0) + (start if local else 0))
            if "CompressedData" in yes:
                content += inflated(stream, ZLIB, size, here)
            else:
                data = stream.read()
                content += data[-size:] if skip == -1 else data
    if header.get("BinaryData", "True").lower() in ("false", "0"):
        content = np.array(content.split(), dtype).tobytes()
    for name, plain in (("ElementToIntensityFunctionSlope", 1),
                        ("ElementToIntensityFunctionOffset", 0)):
        if float(header.get(name, plain)) != plain:
            raise InputError(f"{name} = {header[name]}", **fault, allowed=str(plain))
    values = np.frombuffer(fitting(content, size, size // shape[-1], fault), dtype)
    return list(values.reshape(*shape[::-1], components).T)

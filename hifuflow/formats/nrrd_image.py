"""NRRD, also 3D Slicer's .seg.nrrd, with headers read by pynrrd.

Definition of the format: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import nrrd
import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .compressed import BZIP2, GZIP, fitting, inflated
from .image import Image, unreadable
from .side_files import side_files
from .slicer import missing_background, segments

SPACES = {"right-anterior-superior": (1, 1, 1), "left-anterior-superior": (-1, 1, 1),
          "left-posterior-superior": (-1, -1, 1)}  # and signs that lead to R, A, S
SHORT = {"ras": "right-anterior-superior", "las": "left-anterior-superior",
         "lps": "left-posterior-superior"}
ENCODINGS = {"raw": None, "gzip": GZIP, "gz": GZIP, "bzip2": BZIP2, "bz2": BZIP2,
             "text": "text", "txt": "text", "ascii": "text", "hex": "hex"}
SPACED_FIELDS = ("space directions", "space origin", "space units", "data file", "line skip",
                 "byte skip")  # may be written without their space
HEADER_BYTES = 1_000_000
FAILURES = (nrrd.NRRDError, ValueError, KeyError, IndexError, TypeError)


def open_nrrd(path, key) -> Image:
    """Header of an NRRD file; see `formats.images.open_image`.

    Overlapping segments of 3D Slicer stand in layers, along an axis that is none of space.
    """
    fault = {"file": path, "key": key}
    header, start = _header(path, fault)
    domain, affine = _place(header, fault)
    sizes = np.array(header["sizes"])
    others = [i for i in range(len(sizes)) if i not in domain]
    shape = tuple(int(sizes[i]) for i in domain)
    if "time" in header.get("kinds", []):  # refused by its shape
        return Image(path, "NRRD", (*shape, *sizes[others].tolist()), affine, list, key=key)
    padding = missing_background(header, shape, affine, fault)
    sparse, padding = padding is None, np.zeros((3, 2), int) if padding is None else padding
    affine[:3, 3] -= affine[:3, :3] @ padding[:, 0]
    affine[:3] *= 1e-3
    full = tuple(int(n) for n in shape + padding.sum(axis=1))

    def read():
        data = np.moveaxis(_voxels(path, header, start, fault), domain, (-3, -2, -1))
        return [np.pad(layer, padding) if padding.any() else layer
                for layer in data.reshape(-1, *shape)]

    names = segments(header, int(np.prod([sizes[i] for i in others], dtype=int)), fault)
    return Image(path, "NRRD", full, affine, read, names, key=key, sparse=sparse)


def _header(path, fault):
    """Fields of the header, as pynrrd reads them, and where the voxels begin."""
    lines = []
    with open(path, "rb") as stream:
        while line := stream.readline(HEADER_BYTES):
            text = line.decode("utf-8", "replace").rstrip()
            if not text or stream.tell() > HEADER_BYTES:
                break
            lines.append(_usual(text))
        start = stream.tell()
    try:
        header = nrrd.read_header(lines)
        if header["dimension"] != len(header["sizes"]) or min(header["sizes"]) < 1:
            raise ValueError(f"dimension {header['dimension']} with sizes {header['sizes']}")
    except (*FAILURES, StopIteration) as error:
        raise unreadable(error, path, fault["key"]) from error
    encoding = header.get("encoding", "none")
    if encoding.lower() not in ENCODINGS:
        raise InputError(f"the header's encoding is '{encoding}'", **fault,
                         allowed=", ".join(ENCODINGS))
    return {**header, "encoding": encoding.lower()}, start


def _usual(line: str) -> str:
    """A field's name in its usual spelling, vectors without blanks."""
    match = re.match(r"([^:#]+):(?!=)(.*)", line)
    if not match:
        return line
    name, value = match[1].strip().lower(), match[2]
    name = next((usual for usual in SPACED_FIELDS if usual.replace(" ", "") == name), name)
    if name in ("space directions", "space origin"):
        value = re.sub(r"\s*,\s*", ",", re.sub(r"\(\s+|\s+\)", lambda m: m[0].strip(), value))
    return f"{name}: {value.strip()}"


def _place(header, fault):
    """Indices of the three axes of space, and the affine to R, A, S [mm]."""
    space = header.get("space", "").lower().removesuffix("-time")
    signs = SPACES.get(SHORT.get(space, space))
    directions, origin = header.get("space directions"), header.get("space origin")
    missing = ("anatomical space and space directions" if signs is None or directions is None
               else "space origin" if origin is None else None)
    if missing:
        raise InputError(f"the header gives no place in the patient: it has no {missing}", **fault,
                         allowed="a file whose header tells left from right; save it again with "
                                 "the scan that it was drawn on")
    units = {unit.strip().lower() for unit in header.get("space units", [])} - {""}
    if units - {"mm", "millimeter", "millimetre"}:
        raise InputError(f"lengths in {', '.join(sorted(units))}", **fault,
                         allowed="an NRRD file in mm")
    if not units:
        log.info("%s: the header names no unit of length; taken as mm", fault["file"])
    directions = np.asarray(directions, float)
    domain = np.flatnonzero(np.isfinite(directions).all(axis=1))
    if directions.shape != (len(header["sizes"]), 3) or len(domain) != 3 or len(origin) != 3 \
            or not np.isfinite(origin).all():
        raise InputError(f"the header's space directions and space origin do not fit its "
                         f"{len(header['sizes'])} axes", **fault,
                         allowed="directions of three axes, and 'none' for every other one")
    affine = np.eye(4)
    affine[:3, :3] = directions[domain].T
    affine[:3, 3] = origin
    affine[:3] *= np.array(signs)[:, None]
    return domain.tolist(), affine


def _voxels(path, header, start, fault):
    """All voxels, in the order of the header's axes."""
    kind, sizes = ENCODINGS[header["encoding"]], header["sizes"]
    detached = "data file" in header
    try:
        kept = {name: header[name] for name in ("type", "endian") if name in header}
        dtype = nrrd.read_data({**kept, "dimension": 1, "sizes": np.array([1]), "encoding": "raw"},
                               io.BytesIO(bytes(8))).dtype
        size = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
        slack = size // int(sizes[-1])  # less than a slice is padding
        content = b""
        for file in side_files(path) if detached else [Path(path)]:
            with open(file, "rb") as stream:
                stream.seek(0 if detached else start)
                content += _bytes(stream, header, kind, size + slack, {**fault, "file": file})
        if kind == "text":
            values = np.array(content.split(), dtype)
            content = values.tobytes()
        elif header.get("byte skip") == -1:
            content = content[-size:]
        return np.frombuffer(fitting(content, size, slack, fault), dtype).reshape(sizes[::-1]).T
    except FAILURES as error:
        raise unreadable(error, path, fault["key"]) from error


def _bytes(stream, header, kind, most, fault) -> bytes:
    """One file's voxels from where the stream stands, after what the header says to skip."""
    for _ in range(int(header.get("line skip", 0))):
        stream.readline()
    skip = int(header.get("byte skip", 0))
    if skip < (-1 if kind is None else 0):
        raise InputError(f"byte skip {skip} with the encoding '{header['encoding']}'", **fault,
                         allowed="0 or more, or -1 with raw voxels")
    if kind in (GZIP, BZIP2):  # bytes of the decompressed stream are skipped
        return inflated(stream, kind, most + skip, fault)[skip:]
    content = stream.read()[max(skip, 0):]
    return bytes.fromhex(content.decode("latin-1")) if kind == "hex" else content

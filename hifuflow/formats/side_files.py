"""Files that a header only refers to: the voxels of a detached image, the arrays of a mesh."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hifuflow.provenance import config_hash, file_sha256

DETACHED = (".mhd", ".nhdr")  # headers whose voxels are elsewhere
HEADER_BYTES = 1_000_000  # a header is no longer
NUMBERED = re.compile(r"^(\S*%\S*d\S*)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)")  # name, first, last, step

# Storage classes of RTSTRUCT, and of all DICOM segmentations.
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", STRUCTURES)
NO_SERIES = re.compile(  # DICOM objects that are no images: storage classes and their families
    rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(66|481|88|11|9|104)[.\x00\x02]"
    rb"|1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.1\.1\.(30|68))")
DICOM_HEAD = 512  # bytes of a DICOM file in which its storage class stands


def holds_series(path) -> bool:
    """Whether a folder holds DICOM images, or a file is one: not only segmentations."""
    path = Path(path)
    try:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file():
                with open(file, "rb") as stream:
                    head = stream.read(DICOM_HEAD)
                if head[128:132] == b"DICM" and not NO_SERIES.search(head):
                    return True
    except OSError:  # its reader will say so
        pass
    return False


def side_files(path) -> list[Path]:
    """All files that are read with `path`, whether they exist or not.

    MetaImage (``ElementDataFile``) and NRRD (``data file``) name one file, a numbered series or a
    list; XDMF names HDF5 or binary files; the halves of Analyze and NIfTI pairs share their name;
    a DICOM series is every file of its folder. A header that cannot be understood has none: its
    reader will say so.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    if path.is_dir():
        try:
            return sorted(path.iterdir())
        except OSError:  # its reader will say so
            return []
    if suffix in (*DETACHED, ".xdmf") and path.is_file():
        with open(path, "rb") as stream:
            text = stream.read(HEADER_BYTES).decode("utf-8", "replace")
        names = _in_xdmf(text) if suffix == ".xdmf" else _in_header(text)
        return [path.parent / name for name in names]
    if suffix in (".hdr", ".img"):
        return [path.with_suffix(other) for other in (".hdr", ".img", ".img.gz")]
    return []


def with_side_files(path) -> list[str]:
    """`path` and the files that are read with it, as far as they exist."""
    found = [str(file) for file in side_files(path) if os.path.isfile(file)]
    return list(dict.fromkeys([str(path), *found]))


def source_sha256(path) -> str:
    """Hash of a file's content and of all that is read with it."""
    files = [file for file in with_side_files(path) if os.path.isfile(file)]
    return file_sha256(path) if files == [str(path)] else config_hash(list(map(file_sha256, files)))


def _in_header(text):
    """Names after ``ElementDataFile =`` or ``data file:``."""
    match = re.search(r"^(?:ElementDataFile\s*=|data ?file:)\s*(.*)$", text,
                      re.MULTILINE | re.IGNORECASE)
    if not match:
        return []
    given = match[1].strip()
    if given.upper() == "LOCAL":  # the voxels follow the header
        return []
    if given.upper().startswith("LIST"):
        return [line.strip() for line in text[match.end():].splitlines() if line.strip()]
    numbered = NUMBERED.match(given)
    if numbered:
        first, last, step = (int(numbered[i]) for i in (2, 3, 4))
        try:
            return [numbered[1] % i for i in range(first, last + 1, max(1, abs(step)))]
        except (TypeError, ValueError):
            return []
    return [given]


def _in_xdmf(text):
    """Files of data items: ``NAME.h5:/group/array``, or the name alone."""
    items = re.findall(r"<DataItem\b[^>]*>([^<]*)</DataItem>", text, re.IGNORECASE)
    return sorted({item.strip().split(":")[0] for item in items
                   if re.fullmatch(r"[^\n]*\.\w+(:.*)?", item.strip())})

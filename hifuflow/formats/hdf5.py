"""HDF5 with units and checksums: every data set carries `units` and `description`.

What is read is what was written, or an error. HDF5 itself keeps checksums of its tables (names,
shapes, types, numbers in attributes) in its format 1.10 and later, and of the data where the
Fletcher-32 filter is on; a data set that is too small for that lies in such a table. That leaves
the text of attributes, which HDF5 keeps in blocks of their own: the root carries their checksums.
"""

from __future__ import annotations

import math
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp

from hifuflow.errors import DamagedFile, InputError
from hifuflow.job import atomic
from hifuflow.provenance import created_by

SCHEMA_VERSION = 1
# A file gets its name when it is complete: locks protect nothing, and some file systems have none.
LOCKING = "best-effort"
FORMAT = ("v110", "v110")  # the first that has checksums of all its tables
CHUNK_BYTES = 2**18  # small enough for a processor's cache, large enough to be read at full speed
PIECE_BYTES = 2**24
CHECKSUMS = "text_blocks_crc32"
HEAP = b"GCOL\x01\x00\x00\x00"  # signature of a block of text; its length follows


@contextmanager
def create(path, artifact: str, patient: str, config_sha256: str):
    """Open a new artifact for writing; it appears under its name only when complete."""
    with (atomic(path) as temporary, _no_error_lost(),
          h5py.File(temporary, "w", locking=LOCKING, libver=FORMAT) as file):
        file.attrs.update(artifact=artifact, schema_version=SCHEMA_VERSION, patient=patient,
                          created_by=created_by(), config_sha256=config_sha256)
        yield file
        file.flush()
        file.attrs[CHECKSUMS] = _heap_checksums(temporary)


@contextmanager
def _no_error_lost():
    """HDF5 writes the last of a data set when its handle is dropped, where errors are only printed,
    by both of Python's hooks: the first one is raised at the end."""
    lost, before = [], (sys.unraisablehook, sys.excepthook)

    def keep(unraisable):
        if "h5py" in str(unraisable.object):
            lost.append(unraisable.exc_value or OSError(unraisable.err_msg))
        else:
            before[0](unraisable)

    sys.unraisablehook, sys.excepthook = keep, lambda *error: None
    try:
        yield
        if lost:
            raise lost[0]
    finally:
        sys.unraisablehook, sys.excepthook = before


class ArtifactFile(h5py.File):
    """A file in which a missing data set is a fault of the file; names are paths from its root."""

    def __getitem__(self, name):
        if name not in self:
            raise InputError("holds no such data set: it was written by another version, or "
                             "elsewhere", file=self.filename, key=name)
        return super().__getitem__(name)


@contextmanager
def open_artifact(path, artifact: str):
    """Open an artifact for reading; anything but the expected one is an `InputError`.

    Raises
    ------
    DamagedFile : now or later in the block, where HDF5 cannot make sense of what it reads.
    """
    if not Path(path).is_file():
        raise InputError("no such file", file=path)
    try:
        with ArtifactFile(path, "r", locking=LOCKING) as file:
            check_text(file)
            if file.attrs.get("artifact") != artifact:
                raise InputError("holds another artifact", file=path, key="artifact",
                                 value=file.attrs.get("artifact"), allowed=artifact)
            yield file
    except Exception as error:
        if not _is_of_hdf5(error):
            raise
        raise DamagedFile(path, f"not a readable HDF5 file: {error}") from error


def _is_of_hdf5(error: Exception) -> bool:
    """Whether it was raised by HDF5 or its Python library: errors of many kinds, none its own."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return "h5py" in Path(last.tb_frame.f_code.co_filename).parts


def _heap_checksums(path) -> np.ndarray:
    """(n, 3) start, length and CRC-32 of each block of text in a file, by its signature."""
    rows = []
    with open(path, "rb") as stream:
        for start in _heap_starts(stream):
            stream.seek(start + len(HEAP))
            length = int.from_bytes(stream.read(8), "little")
            stream.seek(start)
            if len(block := stream.read(length)) == length:  # else it only looks like one
                rows.append((start, length, zlib.crc32(block)))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _heap_starts(stream) -> list[int]:
    """Where the signature of a block of text stands.

    Read in pieces that overlap, not mapped: on a full disk the system kills a process that reads a
    mapped page for which there is no room.
    """
    starts, piece, before = [], stream.read(PIECE_BYTES), 0
    while len(piece) >= len(HEAP):
        found = piece.find(HEAP)
        while found >= 0:
            starts.append(before + found)
            found = piece.find(HEAP, found + 1)
        before += len(piece) - len(HEAP) + 1
        stream.seek(before)
        piece = stream.read(PIECE_BYTES)
    return starts


def check_text(file: h5py.File) -> None:
    """Compare the blocks of text before HDF5 reads them, which may not survive a damaged one."""
    if CHECKSUMS not in file.attrs:  # written elsewhere
        return
    with open(file.filename, "rb") as stream:
        for start, length, checksum in file.attrs[CHECKSUMS].tolist():
            stream.seek(start)
            if zlib.crc32(stream.read(length)) != checksum:
                raise DamagedFile(file.filename, f"bytes from {start} on do not match their "
                                                 "checksum")


def put(group, name: str, value, units: str, description: str, **options) -> None:
    """Write one data set; `units` is '1' for pure numbers and for text."""
    data = np.asarray(value)
    if data.dtype.kind == "U":  # of fixed length: HDF5 has no checksum for anything else
        data = np.char.encode(data, "utf-8")
        data = data.astype(h5py.string_dtype("utf-8", max(data.dtype.itemsize, 1)))
    if not data.ndim:
        dataset = _scalar(group, name, data)
    else:
        if data.size:
            options = {"chunks": chunk(data.shape, data.dtype.itemsize), "fletcher32": True,
                       **options}
        dataset = group.create_dataset(name, data=data, **options)
    dataset.attrs.update(units=units, description=description)


def chunk(shape, itemsize: int) -> tuple[int, ...]:
    """Shape of a run of the array's memory of at most `CHUNK_BYTES`, or one item."""
    edges = list(shape)
    for axis in range(len(edges)):
        below = itemsize * math.prod(edges[axis + 1:])
        parts = math.ceil(edges[axis] / max(CHUNK_BYTES // below, 1))
        edges[axis] = math.ceil(edges[axis] / parts)  # of equal size, as the last one is padded
        if below <= CHUNK_BYTES:
            break
    return tuple(edges)


def _scalar(group, name: str, data: np.ndarray) -> h5py.Dataset:
    """One number, in HDF5's own table of objects: it takes no filter, and h5py no other layout."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    kind = h5py.h5t.py_create(data.dtype, logical=True)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind,
                                           h5py.h5s.create(h5py.h5s.SCALAR), properties))
    dataset[()] = data
    return dataset


def put_csr(group, name: str, matrix, units: str, description: str) -> None:
    """Write a sparse matrix as a group in CSR (`data`, `indices`, `indptr`, attribute `shape`)."""
    matrix = sp.csr_array(matrix)
    matrix.sort_indices()
    sub = group.create_group(name)
    sub.attrs.update(shape=np.array(matrix.shape, dtype=np.int64), units=units,
                     description=description)
    put(sub, "data", matrix.data, units, "non-zero values, row by row")
    put(sub, "indices", matrix.indices, "1", "column of each value")
    put(sub, "indptr", matrix.indptr, "1", "where each row starts in data and indices")


def get_csr(file, name: str) -> sp.csr_array:
    """Read what `put_csr` wrote."""
    parts = tuple(file[f"{name}/{part}"][:] for part in ("data", "indices", "indptr"))
    return sp.csr_array(parts, shape=tuple(int(n) for n in file[name].attrs["shape"]))


def get_text(dataset) -> np.ndarray:
    """Read an array of strings."""
    return dataset.asstr()[:].astype(str)

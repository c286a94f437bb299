"""HDF5 with units: every data set carries `units` and `description`, every file its provenance."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.job import atomic
from hifuflow.provenance import created_by

SCHEMA_VERSION = 1
# A file gets its name when it is complete: locks protect nothing, and some file systems have none.
LOCKING = "best-effort"


@contextmanager
def create(path, artifact: str, patient: str, config_sha256: str):
    """Open a new artifact for writing; it appears under its name only when complete."""
    with atomic(path) as temporary, h5py.File(temporary, "w", locking=LOCKING) as file:
        file.attrs.update(artifact=artifact, schema_version=SCHEMA_VERSION, patient=patient,
                          created_by=created_by(), config_sha256=config_sha256)
        yield file


class ArtifactFile(h5py.File):
    """A file in which a missing data set is a fault of the file; names are paths from its root."""

    def __getitem__(self, name):
        if name not in self:
            raise InputError("holds no such data set: it was written by another version, or "
                             "elsewhere", file=self.filename, key=name)
        return super().__getitem__(name)


@contextmanager
def open_artifact(path, artifact: str):
    """Open an artifact for reading; anything but the expected one is an `InputError`."""
    if not Path(path).is_file():
        raise InputError("no such file", file=path)
    try:
        file = ArtifactFile(path, "r", locking=LOCKING)
    except OSError as error:
        raise InputError("not a readable HDF5 file", file=path) from error
    with file:
        if file.attrs.get("artifact") != artifact:
            raise InputError("holds another artifact", file=path, key="artifact",
                             value=file.attrs.get("artifact"), allowed=artifact)
        yield file


def put(group, name: str, value, units: str, description: str, **options) -> None:
    """Write one data set; `units` is '1' for pure numbers and for text."""
    data = np.asarray(value)
    if data.dtype.kind == "U":
        data = data.astype(h5py.string_dtype())
    dataset = group.create_dataset(name, data=data, **options)
    dataset.attrs.update(units=units, description=description)


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

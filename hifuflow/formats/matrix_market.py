"""Matrix Market files, plain or packed: read whole, in a process of its own, or refused."""

from __future__ import annotations

import bz2
import gzip
import io

import numpy as np
import scipy.io

from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import run_isolated

PACKED = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress}


def read_market(files: dict) -> dict:
    """Name -> matrix, dense or sparse, from name -> path.

    SciPy's reader crashes on some damaged files, which the other process may.

    Raises
    ------
    InputError : one cannot be read, or holds more or fewer values than it says.
    """
    try:
        found = run_isolated(decode, {name: str(file) for name, file in files.items()})
    except NumericalError as error:
        raise InputError(f"cannot be read: {error}", file=", ".join(map(str, files.values())),
                         allowed="Matrix Market files") from error
    for name, answer in found.items():
        if isinstance(answer, str):
            raise InputError(f"cannot be read: {answer}", file=files[name],
                             allowed="a Matrix Market file")
    return found


def decode(files: dict) -> dict:
    """Name -> matrix, or what is wrong with its file."""
    found = {}
    for name, file in files.items():
        ending = next(end for end in (".gz", ".bz2", "") if file.endswith(end))
        try:
            with open(file, "rb") as stream:
                data = PACKED[ending](stream.read())  # whole, so that checksums are verified
            found[name] = matrix(data)
        except Exception as error:  # whatever the readers make of a damaged file
            lines = str(error).strip().splitlines() or [type(error).__name__]
            found[name] = lines[-1].strip()
    return found


def matrix(data: bytes):
    """The matrix of an unpacked file.

    Raises
    ------
    ValueError : not as many values as its size says.
    """
    rows, columns, _, layout, field, symmetry = scipy.io.mminfo(io.BytesIO(data))
    if layout == "array":
        stored = {"general": rows * columns, "skew-symmetric": rows * (rows - 1) // 2}.get(
            symmetry, rows * (rows + 1) // 2)
        values = sum(len(line.split()) for line in data.splitlines() if not line.startswith(b"%"))
        values = (values - 2) // (2 if field == "complex" else 1)  # without the size
        if values != stored:
            raise ValueError(f"{values} values for {rows} x {columns}")
        if stored == 0:  # SciPy's reader divides by its size
            return np.zeros((rows, columns))
    return scipy.io.mmread(io.BytesIO(data), spmatrix=False)

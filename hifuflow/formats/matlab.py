"""MATLAB's .mat files of every version, without their objects: versions 4 to 7, and 7.3 (HDF5)."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
import scipy.io
import scipy.sparse as sp

from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import run_isolated

NUMBERS = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u")
                                            for bits in (8, 16, 32, 64)))


@dataclass(frozen=True)
class NotNumbers:
    """A variable that is neither a matrix nor a structure: `kind` says what it is."""

    kind: str


def read_mat(path) -> dict:
    """Variables of a .mat file by name.

    Returns
    -------
    Numbers as (rows, columns) arrays of their own type, sparse ones as `csc_array`, a structure as
    a dictionary of its fields, anything else (text, cells, objects) as `NotNumbers`.

    The file is read in a process of its own: HDF5 may crash on a damaged one.

    Raises
    ------
    InputError : not a .mat file, or damaged.
    """
    try:
        return run_isolated(decode, str(path))
    except NumericalError as error:
        raise InputError(f"cannot be read: {error}", file=path,
                         allowed="a MATLAB file (.mat, any version)") from error


def decode(path: str) -> dict:
    """`read_mat` in this process.

    Raises
    ------
    NumericalError : not a .mat file, or damaged.
    """
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return {name: _hdf5_value(item) for name, item in file.items()
                        if not name.startswith("#")}
        content = scipy.io.loadmat(path, spmatrix=False)
        return {name: _value(item) for name, item in content.items() if not name.startswith("__")}
    except Exception as error:  # whatever the readers make of a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NumericalError(lines[-1].strip()) from error


def _value(item):
    """One variable, or one field, as `scipy.io.loadmat` gives it."""
    if sp.issparse(item):
        return sp.csc_array(item)
    if isinstance(item, scipy.io.matlab.MatlabOpaque):
        kind = item[item.dtype.names[-2]].item()  # before the last field, the object itself
        return NotNumbers(f"an object of class "
                          f"{kind.decode(errors='replace') if isinstance(kind, bytes) else kind}")
    if isinstance(item, scipy.io.matlab.MatlabObject):
        return NotNumbers(f"an object of class {item.classname}")
    if isinstance(item, scipy.io.matlab.MatlabFunction):
        return NotNumbers("a function")
    if item.dtype.names:
        if item.size != 1:
            return NotNumbers(f"an array of {item.size} structures")
        return {name: _value(item.flat[0][name]) for name in item.dtype.names}
    return item if item.dtype.kind in "biufc" else NotNumbers(
        "text" if item.dtype.kind in "US" else "a cell array")


def _hdf5_value(item):
    """One variable, or one field, of version 7.3."""
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if "MATLAB_sparse" in item.attrs:
        return _hdf5_sparse(item)
    if isinstance(item, h5py.Group):
        if kind in ("", "struct"):
            return {name: _hdf5_value(field) for name, field in item.items()}
        return NotNumbers(f"an object of class {kind}")
    if "MATLAB_object_decode" in item.attrs or (kind and kind not in NUMBERS):
        return NotNumbers({"char": "text", "cell": "a cell array"}.get(
            kind, f"an object of class {kind}"))
    if "MATLAB_empty" in item.attrs:
        return np.zeros(tuple(int(size) for size in np.ravel(item[()])))
    if h5py.check_ref_dtype(item.dtype):
        return NotNumbers("an array of structures")
    values = _numbers(item[()])
    # MATLAB stores column by column, HDF5 row by row.
    return values.T if values.dtype.kind in "biufc" else NotNumbers("text")


def _hdf5_sparse(item) -> sp.csc_array:
    pointers = item["jc"][()].astype(np.int64)
    values = _numbers(item["data"][()]) if "data" in item else np.zeros(0)
    rows = item["ir"][()].astype(np.int64) if "ir" in item else np.zeros(0, np.int64)
    matrix = sp.csc_array((values, rows, pointers),
                          shape=(int(item.attrs["MATLAB_sparse"]), len(pointers) - 1))
    matrix.check_format(full_check=True)
    return matrix


def _numbers(values):
    """Complex numbers are stored as pairs."""
    names = values.dtype.names
    return values["real"] + 1j * values["imag"] if names == ("real", "imag") else values

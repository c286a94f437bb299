"""Bits that are turned over, one at a time, and how to tell whether what is read is the same."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import scipy.sparse as sp

from hifuflow.errors import InputError


def silent_flips(path, read, n: int, seed: int = 0) -> list[int]:
    """Bits of a file that change what `read(path)` returns without an `InputError` that names it.

    `n` bits are tried, drawn with `seed`; all of them in a file that has no more.
    """
    original = path.read_bytes()
    expected = read(path)
    bits = 8 * len(original)
    rng = np.random.default_rng(seed)
    silent = []
    for bit in range(bits) if n >= bits else rng.choice(bits, n, replace=False).tolist():
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            if not same(read(path), expected):
                silent.append(bit)
        except InputError as error:
            if path.name not in str(error) or "delete it" not in str(error).lower():
                silent.append(bit)
    path.write_bytes(original)
    return silent


def same(a, b) -> bool:
    """Whether two records hold the same, to the last bit."""
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, sp.sparray):
        return a.shape == b.shape and (a != b).nnz == 0
    if isinstance(a, np.ndarray | h5py.Dataset):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b

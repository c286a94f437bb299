"""Powers of two that bring badly scaled equations and unknowns to one size.

They change no digit of a model, only what an algorithm compares with what.
"""

from __future__ import annotations

import numpy as np

SWEEPS = 30


def equilibrated(matrix) -> tuple[np.ndarray, np.ndarray]:
    """Factors r (n,), c (n,) with which r_i |M_ij| c_j has largest entries near 1 in every row and
    column that is not zero.

    Source: D. Ruiz, "A scaling algorithm to equilibrate both rows and columns norms in matrices",
    Rutherford Appleton Laboratory, RAL-TR-2001-034.
    """
    size = np.abs(matrix)
    rows, columns = np.ones(len(size)), np.ones(len(size))
    for _ in range(SWEEPS):
        row, column = (power_of_two(1 / np.sqrt(_or_one(size.max(axis=axis)))) for axis in (1, 0))
        if (row == 1).all() and (column == 1).all():
            break
        size *= row[:, None]
        size *= column
        rows, columns = rows * row, columns * column
    return rows, columns


def falling(a) -> np.ndarray:
    """(n,) order in which the rows of A become smaller: QR iterations then keep the small
    eigenvalues of a graded matrix."""
    return np.argsort(-np.abs(a).max(axis=1), kind="stable")


def power_of_two(size):
    """The nearest power of two."""
    return 2.0 ** np.rint(np.log2(size))


def _or_one(size):
    return np.where(size > 0, size, 1.0)

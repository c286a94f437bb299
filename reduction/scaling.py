"""Scaling of equations and unknowns by powers of two.

Powers of two change no digit of a model. They only bring to one size what algorithms compare.
"""

from __future__ import annotations

import numpy as np

SWEEPS = 30  # at most


def equilibrated(matrix) -> tuple[np.ndarray, np.ndarray]:
    """Row and column factors r (n,), c (n,) that equilibrate a matrix M.

    In every row and column that is not zero, the largest r_i |M_ij| c_j is near 1.

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
    """(n,) indices of the rows of A from the largest to the smallest.

    In this order, QR iterations keep the small eigenvalues of a graded matrix accurate.
    """
    return np.argsort(-np.abs(a).max(axis=1), kind="stable")


def power_of_two(size):
    """The nearest power of two, in the logarithm."""
    return 2.0 ** np.rint(np.log2(size))


def _or_one(size):
    return np.where(size > 0, size, 1.0)

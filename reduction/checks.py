"""Checks of a model before its reduction: every refusal comes before any long step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.records.bioheat_model import BioheatModel

from .settings import ReductionSettings
from .shifts import REPEATS

SYMMETRY = 1e-13  # largest relative difference of A_ij and A_ji
# An entry below this fraction of the geometric mean of its two diagonal entries is judged against
# that mean: larger numbers have cancelled there, and their rounding errors remain.
CANCELLED = 0.1
# Solves for a relative residual of 1e-12 on spectra of four to five decades.
MOST_SOLVES = 42
# Solves that a given order takes beyond order / (number of inputs), before rounding up the shifts.
EXTRA_SOLVES = 8
# Memory of the basis and of the work on it, in units of the basis.
BASIS_AND_WORK = 1.3
# Entries of a Cholesky factor over n^(4/3), measured on quadratic tetrahedra.
FACTOR_ENTRIES = 14.0


def check_order(order, file=None) -> None:
    """Refuse an order that is neither "auto" nor a whole number of at least 1."""
    whole = isinstance(order, int | np.integer) and not isinstance(order, bool)
    if order != "auto" and not (whole and order >= 1):
        raise InputError("not a number of states", file=file, key="reduction.order", value=order,
                         allowed="auto or a whole number of at least 1")


def check_tolerance(tolerance, order) -> None:
    """Refuse a tolerance that is not a positive number, or that stands beside an order."""
    if tolerance is None:
        return
    if not (isinstance(tolerance, int | float) and 0 < tolerance < np.inf):
        raise InputError("not a tolerance", key="--tolerance", value=tolerance,
                         allowed="a positive number")
    if order != "auto":
        raise InputError("give one of order and tolerance", key="--tolerance", value=tolerance,
                         allowed=f"none beside an order ({order})")


def check_threads(threads) -> None:
    """Refuse a number of threads below one."""
    if threads < 1:
        raise InputError("not a number of threads", key="--threads", value=threads,
                         allowed="at least 1")


def check_matrices(matrices: dict, file=None, zero: bool = False) -> None:
    """Refuse matrices of the wrong shape, with values that are not finite, or zero.

    Parameters
    ----------
    matrices : name -> (matrix, shape it must have, with None for any number).
    file : where they are from, for the messages.  zero : whether they may be zero.

    Raises
    ------
    InputError : with the matrix, its shape or the number of bad values.
    """
    for name, (matrix, shape) in matrices.items():
        if not fits(matrix.shape, shape):
            turned = ", its transpose would fit" * fits(matrix.shape[::-1], shape)
            allowed = " x ".join("any" if size is None else str(size) for size in shape)
            raise InputError(f"has the wrong shape{turned}", file=file, key=name,
                             value=matrix.shape, allowed=allowed)
        values = matrix.data if sp.issparse(matrix) else matrix
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise InputError(f"{bad} of {values.size} values are not finite", file=file, key=name)
        if not zero and not np.any(values):
            raise InputError("is zero: there is nothing to reduce", file=file, key=name)


def fits(shape, wanted) -> bool:
    """Whether a shape is the wanted one, in which None stands for any number above 0."""
    return all(size == want if want is not None else size > 0
               for size, want in zip(shape, wanted, strict=True))


def check_model(model: BioheatModel, order, file=None) -> None:
    """Refuse a model that the symmetric reduction cannot take.

    Raises
    ------
    InputError : a matrix has the wrong shape, is not finite or zero; E or K is not symmetric; the
        diagonal of E is not positive; or the order exceeds the number of states.
    """
    n = model.E.shape[0]
    m, p = len(model.foci), len(model.outputs.kind)
    check_matrices({"E": (model.E, (n, n)), "K": (model.K, (n, n)), "B": (model.B, (n, m)),
                    "C": (model.C, (p, n)), "C_mean": (model.C_mean, (p, n))})
    for name, matrix in (("E", model.E), ("K", model.K)):
        skew = asymmetry(matrix)
        if skew > SYMMETRY:
            raise InputError(f"is not symmetric: two entries differ by {skew:.1e} of their size",
                             key=name, allowed=f"{SYMMETRY:g}")
    diagonal = model.E.diagonal()
    if not (diagonal > 0).all():
        raise InputError(f"{np.count_nonzero(diagonal <= 0)} of {n} diagonal entries are not "
                         "positive", key="E", allowed="a positive definite matrix")
    if order != "auto" and order > n:
        raise InputError("more states than the full model has", file=file,
                         key="reduction.order", value=order, allowed=f"auto or at most {n}")
    rank = np.linalg.matrix_rank(model.B.T @ model.B, hermitian=True)
    if rank < m:
        log.info("B has rank %d: %d of the %d inputs add nothing", rank, m - rank, m)


def asymmetry(matrix) -> float:
    """Largest |A_ij - A_ji| relative to the size of these two entries.

    Their size is the larger of the two, and at least CANCELLED sqrt(|A_ii A_jj|).
    """
    matrix = sp.csr_array(matrix)
    difference = sp.coo_array(abs(matrix - matrix.T))
    size = np.sqrt(np.abs(matrix.diagonal()))
    row, column = difference.coords
    larger = sp.csr_array(abs(matrix).maximum(abs(matrix.T)))
    entries = np.maximum(larger[row, column], CANCELLED * size[row] * size[column])
    different = difference.data > 0
    return float((difference.data[different] / entries[different]).max(initial=0.0))


def check_memory(model: BioheatModel, settings: ReductionSettings) -> None:
    """Refuse a reduction that the machine's free memory cannot hold.

    Counted: the basis of the reachable space (MOST_SOLVES solves with all inputs, or
    as many as the order needs) and, for direct solves, the factor.
    """
    n, m = model.B.shape
    columns = min(n, MOST_SOLVES * m)
    if settings.order != "auto":
        columns = min(columns, settings.order + (EXTRA_SOLVES + REPEATS) * m)
    needed = 8 * n * columns * BASIS_AND_WORK + (
        0 if settings.solver == "iterative" else factor_bytes(n))
    free = free_memory()
    if needed > free:
        raise settings.written.error(
            f"needs about {needed / 1e9:.1f} GB for a basis of {columns} states of {n} unknowns "
            f"and the factor; {free / 1e9:.1f} GB are free", "order",
            allowed="a smaller order, solver: iterative, or a coarser mesh")


def factor_bytes(n: int) -> float:
    """Estimated size [bytes] of a Cholesky factor of n unknowns in quadratic tetrahedra.

    Nested dissection in three dimensions needs a multiple of n^(4/3) entries (A. George, "Nested
    dissection of a regular finite element mesh", SIAM J. Numer. Anal. 10 (1973) 345-363, for two
    dimensions); the multiple, FACTOR_ENTRIES, is measured.
    """
    return 8 * FACTOR_ENTRIES * n ** (4 / 3)


def free_memory() -> float:
    """Memory that is available on this machine [bytes]; infinite where it does not say."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    return np.inf

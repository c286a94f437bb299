"""A general model E x' = A x + B u in the standard form z' = A z + B u, well scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.errors import InputError, NumericalError

from .balance import no_path
from .scaling import equilibrated, falling, power_of_two

EPS = np.finfo(float).eps
SURELY_REGULAR = 1e-10  # estimated reciprocal condition number above which a matrix is regular
# Options of LAPACK's DGEJSV that keep small singular values accurate where columns are graded.
GRADED_COLUMNS, ALL_LEFT, NO_RIGHT, NO_CUT, AS_IT_IS, NO_NOISE = 0, 0, 3, 0, 0, 0


@dataclass
class StandardForm:
    """A model in standard form: z' = A z + B u, y = C z.

    Attributes
    ----------
    A : (n, n).  B : (n, m).  outputs : (p, n) output matrices C in these states, one or more.
    scales : (n,) powers of two, the size of each unknown of the full model.
    """

    A: np.ndarray
    B: np.ndarray
    outputs: list[np.ndarray]
    scales: np.ndarray


def standard_form(capacity, a, inputs, *outputs) -> StandardForm:
    """The standard form of E x' = A x + B u with any number of output matrices C.

    Equations and unknowns are scaled first, so that E is judged by its structure and not by its
    units. A is balanced by LAPACK's GEBAL, and its states are ordered by falling size. The first
    output matrix decides whether any input reaches an output.

    Raises
    ------
    InputError : E is singular, with the reason, or no input reaches an output.
    """
    rows, columns = equilibrated(capacity)
    e, f = (rows[:, None] * part * columns for part in (capacity, a))
    check_regular(e, f)
    b = rows[:, None] * inputs
    if np.array_equal(e, np.diag(np.diag(e))):
        f, b = f / np.diag(e)[:, None], b / np.diag(e)[:, None]
    else:
        factor = la.lu_factor(e)
        f, b = la.lu_solve(factor, f), la.lu_solve(factor, b)
    check_path(sp.csr_array(f != 0), b, outputs[0])
    f, _, _, scales, _ = la.lapack.dgebal(f, scale=1, permute=0)
    b, scales = b / scales[:, None], columns * scales
    order = falling(f)
    return StandardForm(f[np.ix_(order, order)], b[order],
                        [(part * scales)[:, order] for part in outputs], scales)


def symmetric_form(capacity, stiffness, inputs, *outputs) -> StandardForm:
    """The standard form of E x' = -K x + B u, E and K symmetric definite: A = -diag(rates).

    With E = L L', K = R' R and the singular value decomposition L^-1 R' = U S V', the rates are
    S^2 and x = L^-T U z. Cholesky factors and Jacobi's singular values keep all digits of all
    rates, however far apart, where E and K owe their large condition numbers to scaling. Pivoted QR
    of K's Cholesky factor grades the rows of R, and so the columns of L^-1 R'.

    Raises
    ------
    NumericalError : E or K is not definite, or singular by more than its scaling.
    InputError : no input reaches an output.

    Source: J. Demmel, K. Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal.
    Appl. 13 (1992) 1204-1245; Z. Drmac, K. Veselic, "New fast and accurate Jacobi SVD algorithm
    I", SIAM J. Matrix Anal. Appl. 29 (2008) 1322-1342.
    """
    if not (np.diag(capacity) > 0).all():
        raise NumericalError("E is not positive definite")
    scales = power_of_two(1 / np.sqrt(np.diag(capacity)))
    lower, root = (definite_factor(scales[:, None] * part * scales, name)
                   for part, name in ((capacity, "E"), (stiffness, "K")))
    graded, pivots = la.qr(root.T, mode="r", pivoting=True)
    root = graded.T[np.argsort(pivots)]
    size, vectors, _, unit, _, info = la.lapack.dgejsv(
        la.solve_triangular(lower, root, lower=True), GRADED_COLUMNS, ALL_LEFT, NO_RIGHT, NO_CUT,
        AS_IT_IS, NO_NOISE)
    size = size * (unit[0] / unit[1])
    if info:
        raise NumericalError(f"Jacobi's iteration for {len(size)} modes did not converge")
    check_path(sp.csr_array((capacity != 0) | (stiffness != 0)), inputs, outputs[0])
    inputs = la.solve_triangular(lower, scales[:, None] * inputs, lower=True)
    modes = scales[:, None] * la.solve_triangular(lower, vectors, lower=True, trans="T")
    return StandardForm(np.diag(-size**2), vectors.T @ inputs,
                        [part @ modes for part in outputs], scales)


def definite_factor(matrix, name: str) -> np.ndarray:
    """Lower Cholesky factor of a matrix that is positive definite beyond rounding.

    The matrix is judged with its diagonal scaled to one: an eigenvalue within rounding of zero is
    then a pole at zero, and not a matter of units.

    Raises
    ------
    NumericalError : the matrix is not positive definite.
    """
    diagonal = np.diag(matrix)
    if (diagonal > 0).all():
        root = np.sqrt(diagonal)
        if la.eigvalsh(matrix / root / root[:, None], subset_by_index=[0, 0])[0] > (
                len(matrix) * EPS):
            return la.cholesky(matrix, lower=True)
    raise NumericalError(f"{name} is not positive definite")


def check_path(coupled, inputs, outputs) -> None:
    """Refuse a model in which no input reaches an output, by following the couplings of states.

    Parameters
    ----------
    coupled : (n, n) sparse bool, whether state i is moved by state j.
    inputs : (n, m).  outputs : (p, n), also sparse.
    """
    reached = np.any(inputs != 0, axis=1)
    before = -1
    while reached.sum() > before:
        before = reached.sum()
        reached = reached | (coupled @ reached).astype(bool)
    if not abs(outputs[:, reached]).max() > 0:
        raise no_path()


def check_regular(e, a) -> None:
    """Refuse a singular E (scaled), with the kind of equations that the model then has.

    Raises
    ------
    InputError : with the rank of E and the index of the equations.
    """
    n = len(e)
    reciprocal = la.lapack.dgecon(la.lapack.dgetrf(e)[0], np.linalg.norm(e, 1))[0]
    if reciprocal > SURELY_REGULAR:
        return
    left, size, right = la.svd(e)
    missing = int(np.count_nonzero(size <= n * EPS * size[0]))
    if not missing:
        return
    rank = n - missing
    left, right = left[:, rank:].T, right[rank:].T
    algebraic = left @ a @ right
    algebraic[np.abs(algebraic) <= n * EPS * (np.abs(left) @ np.abs(a) @ np.abs(right))] = 0.0
    if regular(algebraic):
        reason = (f"{missing} of its equations are algebraic (index 1): solve them for as many "
                  "unknowns, and eliminate these")
    elif regular(e + np.pi * a * (np.abs(e).max() / np.abs(a).max())):
        reason = "the equations have an index of 2 or more, and no such form"
    else:
        reason = "E x' = A x + B u has no unique solution: s E - A is singular for every s"
    raise InputError(f"is singular, of rank {rank} of {n} however its rows and columns are scaled; "
                     f"{reason}", key="E", allowed="a regular matrix")


def regular(matrix) -> bool:
    """Whether a matrix, once scaled, can be told from a singular one."""
    rows, columns = equilibrated(matrix)
    return bool(np.linalg.cond(rows[:, None] * matrix * columns) < 1 / (len(matrix) * EPS))


def solver_of(matrix, scales):
    """Function b -> x that solves `matrix` x = b by LU, with equations and unknowns scaled.

    `matrix` is real or complex, dense or sparse; `scales` (n,) is the size of each unknown.
    """
    sparse = sp.issparse(matrix)
    matrix = matrix @ sp.diags_array(scales) if sparse else matrix * scales
    largest = abs(matrix).max(axis=1)
    rows = power_of_two(1 / (largest.toarray().ravel() if sparse else largest))
    if sparse:
        factor = sp.linalg.splu(sp.csc_array(sp.diags_array(rows) @ matrix))
        return lambda right: (scales * factor.solve((rows * right.T).T.astype(matrix.dtype)).T).T
    factor = la.lu_factor(rows[:, None] * matrix, overwrite_a=True)
    return lambda right: (scales * la.lu_solve(factor, (rows * right.T).T).T).T

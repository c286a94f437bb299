"""Iterative solves with a K + b E: conjugate gradients, preconditioned by algebraic multigrid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyamg
import scipy.linalg as la
import scipy.sparse as sp
from pyamg.util.linalg import approximate_spectral_radius

from hifuflow.errors import NumericalError

# Relative residual of each solve. It limits how accurate a reduced model can be: the residual of
# the Lyapunov equation asked for is at least 1e-12, the square of 1e-6.
ACCURACY = 1e-9
MOST_ITERATIONS = 300
NEGLIGIBLE = 1e-25  # denormal numbers slow single precision down sevenfold
COARSEST = 500  # unknowns that are solved directly
DEGREE = 3  # of the smoothing polynomial
# The smoother damps eigenvalues of D^-1 A from the largest down to this fraction of it.
SMOOTHED_PART = 1 / 20


@dataclass
class _Level:
    """One level in single precision: A, D^-1 A, D^-1, its largest eigenvalue, interpolation."""

    matrix: sp.csr_array
    scaled: sp.csr_array
    inverse_diagonal: np.ndarray
    largest: float
    interpolation: sp.csr_array
    restriction: sp.csr_array

    @classmethod
    def of(cls, level) -> _Level:
        """From a level of PyAMG's hierarchy."""
        inverse = 1 / level.A.diagonal()
        scaled = sp.csr_array(sp.diags_array(inverse) @ level.A)
        largest = 1.1 * approximate_spectral_radius(sp.csr_matrix(scaled))
        single = [sp.csr_array(part).astype(np.float32)
                  for part in (level.A, scaled, level.P, level.R)]
        return cls(*single[:2], inverse[:, None].astype(np.float32), float(largest), *single[2:])


class MultigridSolver:
    """Conjugate gradients with a K + b E for many right-hand sides side by side.

    One V-cycle of smoothed aggregation preconditions them; its smoother is a Chebyshev polynomial
    of D^-1 A, which takes all columns at once, as matrix products do. Columns that have converged
    are left out. Memory: three to four times the matrix and six times the right-hand sides.

    Source: P. Vanek, J. Mandel, M. Brezina, "Algebraic multigrid by smoothed aggregation for
    second and fourth order elliptic problems", Computing 56 (1996) 179-196, by PyAMG; M. Adams,
    M. Brezina, J. Hu, R. Tuminaro, "Parallel multigrid smoothing: polynomial versus
    Gauss-Seidel", J. Comput. Phys. 188 (2003) 593-610.

    Parameters
    ----------
    capacity, stiffness : (n, n) sparse symmetric positive definite E and K.
    """

    def __init__(self, capacity, stiffness):
        self._capacity, self._stiffness = sp.csr_array(capacity), sp.csr_array(stiffness)

    def factor(self, stiffness: float, capacity: float) -> MultigridSolver:
        """Take `stiffness` K + `capacity` E; `solve` then uses it.

        Raises
        ------
        NumericalError : a diagonal entry is not positive.
        """
        self._name = f"{stiffness:g} K + {capacity:g} E"
        matrix = sp.csr_array(stiffness * self._stiffness + capacity * self._capacity)
        if not (matrix.diagonal() > 0).all():
            raise NumericalError(f"{self._name} is not positive definite")
        hierarchy = pyamg.smoothed_aggregation_solver(
            sp.csr_matrix(matrix), max_coarse=COARSEST, strength=("symmetric", {"theta": 0.0}))
        self._matrix = matrix
        self._levels = [_Level.of(level) for level in hierarchy.levels[:-1]]
        try:
            self._coarsest = la.cho_factor(hierarchy.levels[-1].A.toarray())
        except la.LinAlgError as error:
            raise NumericalError(f"{self._name} is not positive definite") from error
        return self

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Solve for `right` (n,) or (n, m).

        Raises
        ------
        NumericalError : not converged, or the matrix is not positive definite.
        """
        columns = right if right.ndim == 2 else right[:, None]
        size = np.linalg.norm(columns, axis=0)
        solution = np.zeros(columns.shape)
        open_ = np.flatnonzero(size > 0)
        rest = np.ascontiguousarray(columns[:, open_])
        unknowns, search, weight = np.zeros_like(rest), np.zeros_like(rest), np.ones(len(open_))
        for _ in range(MOST_ITERATIONS):
            if not len(open_):
                return solution.reshape(right.shape)
            better = self._preconditioned(rest, size[open_])
            product = np.einsum("nm,nm->m", rest, better)
            search *= product / weight
            search += better
            weight = product
            image = self._matrix @ search
            energy = np.einsum("nm,nm->m", search, image)
            if not (energy > 0).all():
                raise NumericalError(f"{self._name} is not positive definite")
            step = product / energy
            rest -= np.multiply(image, step, out=image)
            unknowns += np.multiply(search, step, out=image)
            left = np.sqrt(np.einsum("nm,nm->m", rest, rest)) > ACCURACY * size[open_]
            if not left.all():
                solution[:, open_[~left]] = unknowns[:, ~left]
                unknowns, rest, search = unknowns[:, left], rest[:, left], search[:, left]
                weight, open_ = weight[left], open_[left]
        raise NumericalError(f"conjugate gradients with {self._name} stopped after "
                             f"{MOST_ITERATIONS} iterations above a relative residual of "
                             f"{ACCURACY:.0e}")

    def gram(self, right: np.ndarray) -> np.ndarray:
        """right' A^-1 right (m, m) for `right` (n, m)."""
        return right.T @ self.solve(right)

    def _preconditioned(self, rest: np.ndarray, size: np.ndarray) -> np.ndarray:
        """A V-cycle in single precision, without values that would be denormal there."""
        scaled = np.divide(rest, size)
        scaled[np.abs(scaled) < NEGLIGIBLE] = 0.0
        return self._cycle(0, scaled.astype(np.float32)) * size

    def _cycle(self, depth: int, right: np.ndarray) -> np.ndarray:
        """One V-cycle from zero, symmetric in `right`."""
        if depth == len(self._levels):
            return la.cho_solve(self._coarsest, right).astype(np.float32)
        level = self._levels[depth]
        found = _smoothed(level, right)
        rest = level.matrix @ found
        np.subtract(right, rest, out=rest)
        found += level.interpolation @ self._cycle(depth + 1, level.restriction @ rest)
        rest = level.matrix @ found
        found += _smoothed(level, np.subtract(right, rest, out=rest))
        return found


def _smoothed(level: _Level, right: np.ndarray) -> np.ndarray:
    """Chebyshev's polynomial of DEGREE in D^-1 A times D^-1 `right`."""
    middle = level.largest * (1 + SMOOTHED_PART) / 2
    half = level.largest * (1 - SMOOTHED_PART) / 2
    right = level.inverse_diagonal * right
    move = right / np.float32(middle)
    found, ratio = move.copy(), half / middle
    for _ in range(DEGREE - 1):
        following = 1 / (2 * middle / half - ratio)
        rest = level.scaled @ found
        np.subtract(right, rest, out=rest)
        rest *= np.float32(2 * following / half)
        move *= np.float32(following * ratio)
        move += rest
        found += move
        ratio = following
    return found

"""Iterative solves with a K + b E: conjugate gradients, preconditioned by algebraic multigrid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyamg
import scipy.linalg as la
import scipy.sparse as sp
from pyamg.util.linalg import approximate_spectral_radius

from hifuflow.errors import NumericalError

# Relative residual of each solve. It limits the accuracy of a reduced model: the smallest residual
# of the Lyapunov equation that may be asked for is 1e-12, the square of 1e-6.
ACCURACY = 1e-9
MOST_ITERATIONS = 300
NEGLIGIBLE = 1e-25  # taken for zero: denormal numbers slow single precision down sevenfold
COARSEST = 500  # unknowns of the coarsest level, which is solved directly
DEGREE = 3  # of the smoothing polynomial
# The smoother damps eigenvalues of D^-1 A from the largest down to this fraction of it.
SMOOTHED_PART = 1 / 20


@dataclass
class _Level:
    """One multigrid level in single precision: A, D^-1 A and its largest eigenvalue, interpolation.

    D is the diagonal of A.
    """

    matrix: sp.csr_array
    scaled: sp.csr_array
    inverse_diagonal: np.ndarray
    largest: float
    interpolation: sp.csr_array
    restriction: sp.csr_array

    @classmethod
    def of(cls, level) -> _Level:
        """A level by that of PyAMG's hierarchy."""
        inverse = 1 / level.A.diagonal()
        scaled = sp.csr_array(sp.diags_array(inverse) @ level.A)
        largest = 1.1 * approximate_spectral_radius(sp.csr_matrix(scaled))
        single = [sp.csr_array(part).astype(np.float32)
                  for part in (level.A, scaled, level.P, level.R)]
        return cls(*single[:2], inverse[:, None].astype(np.float32), float(largest), *single[2:])


class MultigridSolver:
    """Iterative solver of a K + b E for many right-hand sides at once, by conjugate gradients.

    The preconditioner is one V-cycle of smoothed aggregation. Its smoother is a Chebyshev
    polynomial of D^-1 A, which takes all columns at once, as matrix products do. Converged columns
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
        """Set the matrix `stiffness` K + `capacity` E that `solve` uses.

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
        """Solutions (n,) or (n, m) for the right-hand sides `right`, of the same shape.

        Raises
        ------
        NumericalError : no convergence, or the matrix is not positive definite.
        """
        columns = right if right.ndim == 2 else right[:, None]
        size = np.linalg.norm(columns, axis=0)
        solution = np.zeros(columns.shape)
        unsolved = np.flatnonzero(size > 0)
        residual = np.ascontiguousarray(columns[:, unsolved])
        unknowns, search = np.zeros_like(residual), np.zeros_like(residual)
        weight = np.ones(len(unsolved))
        for _ in range(MOST_ITERATIONS):
            if not len(unsolved):
                return solution.reshape(right.shape)
            better = self._preconditioned(residual, size[unsolved])
            product = np.einsum("nm,nm->m", residual, better)
            search *= product / weight
            search += better
            weight = product
            image = self._matrix @ search
            energy = np.einsum("nm,nm->m", search, image)
            if not (energy > 0).all():
                raise NumericalError(f"{self._name} is not positive definite")
            step = product / energy
            residual -= np.multiply(image, step, out=image)
            unknowns += np.multiply(search, step, out=image)
            size_left = np.sqrt(np.einsum("nm,nm->m", residual, residual))
            unconverged = size_left > ACCURACY * size[unsolved]
            if not unconverged.all():
                solution[:, unsolved[~unconverged]] = unknowns[:, ~unconverged]
                unknowns, residual, search = (
                    block[:, unconverged] for block in (unknowns, residual, search))
                weight, unsolved = weight[unconverged], unsolved[unconverged]
        raise NumericalError(f"conjugate gradients with {self._name} stopped after "
                             f"{MOST_ITERATIONS} iterations above a relative residual of "
                             f"{ACCURACY:.0e}")

    def gram(self, right: np.ndarray) -> np.ndarray:
        """right' A^-1 right (m, m) for `right` (n, m)."""
        return right.T @ self.solve(right)

    def _preconditioned(self, residual: np.ndarray, size: np.ndarray) -> np.ndarray:
        """One V-cycle on the scaled residual, in single precision, without denormal numbers."""
        scaled = np.divide(residual, size)
        scaled[np.abs(scaled) < NEGLIGIBLE] = 0.0
        return self._cycle(0, scaled.astype(np.float32)) * size

    def _cycle(self, depth: int, right: np.ndarray) -> np.ndarray:
        """One V-cycle from zero, symmetric in `right`."""
        if depth == len(self._levels):
            return la.cho_solve(self._coarsest, right).astype(np.float32)
        level = self._levels[depth]
        solution = _smoothed(level, right)
        residual = level.matrix @ solution
        np.subtract(right, residual, out=residual)
        solution += level.interpolation @ self._cycle(depth + 1, level.restriction @ residual)
        residual = level.matrix @ solution
        solution += _smoothed(level, np.subtract(right, residual, out=residual))
        return solution


def _smoothed(level: _Level, right: np.ndarray) -> np.ndarray:
    """D^-1 `right` times the Chebyshev polynomial of DEGREE in D^-1 A."""
    middle = level.largest * (1 + SMOOTHED_PART) / 2
    half = level.largest * (1 - SMOOTHED_PART) / 2
    right = level.inverse_diagonal * right
    move = right / np.float32(middle)
    solution, ratio = move.copy(), half / middle
    for _ in range(DEGREE - 1):
        following = 1 / (2 * middle / half - ratio)
        residual = level.scaled @ solution
        np.subtract(right, residual, out=residual)
        residual *= np.float32(2 * following / half)
        move *= np.float32(following * ratio)
        move += residual
        solution += move
        ratio = following
    return solution

"""Solves with a K + b E: sparse Cholesky, or block conjugate gradients where its factor is dear."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.cholesky import ShiftedSolver
from hifuflow.errors import NumericalError
from hifuflow.job import log

from .checks import factor_bytes, free_memory

# Relative residual of each solve. It limits how far the reachable space can be off; the residual
# of the Lyapunov equation asked for is 1e-12, the square of 1e-6.
ACCURACY = 1e-9
MOST_ITERATIONS = 3000
DEPENDENT = 1e-13


def shifted_solver(capacity, stiffness, kind: str):
    """`ShiftedSolver` or `BlockCG` of E and K.

    Parameters
    ----------
    kind : "direct", "iterative", or "auto": direct while the factor is estimated to fit in half
        of the free memory.
    """
    n = capacity.shape[0]
    if kind == "auto":
        kind = "direct" if 2 * factor_bytes(n) < free_memory() else "iterative"
        log.info("%d unknowns: %s solves, a factor is estimated at %.2g GB", n, kind,
                 factor_bytes(n) / 1e9)
    return (ShiftedSolver if kind == "direct" else BlockCG)(capacity, stiffness)


class BlockCG:
    """Conjugate gradients with a K + b E for all right-hand sides at once, scaled by the diagonal.

    The columns share one search space and so need fewer iterations together than alone. The
    residual is kept as Q c with orthonormal Q, which does not break down when columns become
    dependent or converge at different times (algorithm BCGrQ).

    Source: A. A. Dubrulle, "Retooling the method of block conjugate gradients", Electronic
    Transactions on Numerical Analysis 12 (2001) 216-233.

    Parameters
    ----------
    capacity, stiffness : (n, n) sparse symmetric positive definite E and K.
    """

    def __init__(self, capacity, stiffness):
        self._capacity, self._stiffness = sp.csr_array(capacity), sp.csr_array(stiffness)

    def factor(self, stiffness: float, capacity: float) -> BlockCG:
        """Take `stiffness` K + `capacity` E; `solve` then uses it."""
        matrix = stiffness * self._stiffness + capacity * self._capacity
        diagonal = matrix.diagonal()
        if not (diagonal > 0).all():
            raise NumericalError(f"{stiffness:g} K + {capacity:g} E is not positive definite")
        self._scale = 1 / np.sqrt(diagonal)
        scale = sp.diags_array(self._scale)
        self._matrix = sp.csr_array(scale @ matrix @ scale)
        self._name = f"{stiffness:g} K + {capacity:g} E"
        return self

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Solve for `right` (n,) or (n, m).

        Raises
        ------
        NumericalError : not converged, or the matrix is not positive definite.
        """
        columns = right if right.ndim == 2 else right[:, None]
        block = self._scale[:, None] * columns
        size = np.linalg.norm(block)
        unknowns = np.zeros_like(block)
        if size == 0:
            return unknowns.reshape(right.shape)
        frame, coefficients = orthonormal(block)
        search = frame
        for _ in range(MOST_ITERATIONS):
            image = self._matrix @ search
            energy = search.T @ image
            try:
                step = la.cho_factor((energy + energy.T) / 2)
            except la.LinAlgError as error:
                raise NumericalError(f"{self._name} is not positive definite") from error
            unknowns += search @ la.cho_solve(step, coefficients)
            frame, turn = orthonormal(frame - la.cho_solve(step, image.T).T)
            coefficients = turn @ coefficients
            if np.linalg.norm(coefficients) <= ACCURACY * size:
                return (self._scale[:, None] * unknowns).reshape(right.shape)
            search = frame + search @ turn.T
        raise NumericalError(f"conjugate gradients with {self._name} stopped after "
                             f"{MOST_ITERATIONS} iterations at a relative residual of "
                             f"{np.linalg.norm(coefficients) / size:.1e}; {ACCURACY:.0e} was asked")


def orthonormal(block):
    """(Q, R): block = Q R with orthonormal columns; dependent columns get others in their place."""
    gram = block.T @ block
    diagonal = np.diag(gram)
    try:  # twice Cholesky-QR, at the speed of matrix products, while it is accurate
        if not diagonal.min() > DEPENDENT * diagonal.max():
            raise la.LinAlgError
        first = la.cholesky(gram)
        if la.lapack.dtrcon(first)[0] < 1e-6:
            raise la.LinAlgError
        frame = la.solve_triangular(first, block.T, trans="T").T
        second = la.cholesky(frame.T @ frame)
        return la.solve_triangular(second, frame.T, trans="T").T, second @ first
    except la.LinAlgError:
        return la.qr(block, mode="economic")

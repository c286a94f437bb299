"""Step responses of a large stiff linear system by a shift-invert Lanczos method.

E x' = -K x + b with x(0) = 0 and constant b has the solution

    x(t) = t phi_1(-t M) E^-1 b,   M = E^-1 K,   phi_1(z) = (e^z - 1) / z.

With S = (E + gamma K)^-1 E = (I + gamma M)^-1, self-adjoint in the E inner product, and
w = (E + gamma K)^-1 b, this is a function of S applied to w. It is evaluated in the Krylov space
of S and w: every basis vector costs one solve with the same factorization, and the whole time
axis comes out of it at no further cost. Small eigenvalues of S belong to the stiff modes, which
is why a handful of vectors is enough (van den Eshof and Hochbruck, SIAM J. Sci. Comput. 27,
2006). The projected M is positive definite, so the response decays for any step length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hifuflow.errors import NumericalError
from hifuflow.numerics.cholesky import ShiftedSolver

MAX_BASIS = 80
MIN_BASIS = 6
HORIZON_PER_SHIFT = 10.0


@dataclass
class StepResponse:
    """Step response to a load that is switched on at t = 0: x(t) = basis @ coefficients(t).

    Attributes
    ----------
    basis : (n, m) E-orthonormal.
    vectors, weights : the eigenvectors (m, m) of the projected S and the start in them (m,).
    theta : (m,) eigenvalues of the projected S, in (0, 1].
    shift : gamma [s].
    """

    basis: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    theta: np.ndarray
    shift: float

    def coefficients(self, times) -> np.ndarray:
        """(m, n_times) coefficients at times [s]; zero at and before t = 0."""
        times = np.maximum(np.asarray(times, dtype=float), 0.0)
        rate = (1 / self.theta - 1) / self.shift
        decay = np.outer(rate, times)
        # t phi_1(-t lambda) / theta, the division by theta because the basis starts from w.
        phi = np.where(decay > 1e-8, -np.expm1(-decay) / np.maximum(decay, 1e-300), 1 - decay / 2)
        return self.vectors @ (self.weights[:, None] * phi * times / self.theta[:, None])


class StepResponseSolver:
    """Solver of step responses on (0, horizon], to an absolute tolerance.

    Parameters
    ----------
    E, K : (n, n) sparse, symmetric positive definite [J/K], [W/K].
    horizon : longest time that is asked for [s]. The shift is a tenth of it, which needed the
        fewest vectors on breast models for horizons of 20 to 40 s.
    tolerance : largest change of any unknown by the last basis vector [K].
    """

    def __init__(self, E, K, horizon: float, tolerance: float):
        self.E = sp.csr_array(E)
        self.tolerance = tolerance
        self.shift = horizon / HORIZON_PER_SHIFT
        self._check_times = horizon * np.array([0.025, 0.1, 0.3, 1.0])
        self._factor = ShiftedSolver(E, K).factor(self.shift, 1.0)

    def response(self, load: np.ndarray) -> StepResponse:
        """Step response to a load (n,) [W].

        Raises
        ------
        NumericalError
            if the tolerance is not met with `MAX_BASIS` vectors.
        """
        vector = self._factor.solve(load)
        weighted = self.E @ vector
        start = np.sqrt(vector @ weighted)
        if not np.isfinite(start):
            raise NumericalError("the load of the plant is not finite")
        if start == 0.0:
            return StepResponse(np.zeros((len(load), 1)), np.eye(1), np.zeros(1), np.ones(1),
                                self.shift)
        limit = min(MAX_BASIS, len(load))
        basis, images = np.empty((limit, len(load))), np.empty((limit, len(load)))
        projected = np.zeros((limit, limit))
        norm, before = start, np.zeros((0, len(self._check_times)))
        for m in range(1, limit + 1):
            basis[m - 1], images[m - 1] = vector / norm, weighted / norm
            vector = self._factor.solve(images[m - 1])
            for _ in range(2):  # twice, so that the basis stays orthonormal to rounding
                overlap = images[:m] @ vector
                vector -= overlap @ basis[:m]
                projected[:m, m - 1] += overlap
            weighted = self.E @ vector
            norm = np.sqrt(max(vector @ weighted, 0.0))
            exhausted = m == len(load) or norm <= 1e-13 * abs(projected[m - 1, m - 1])
            if m >= MIN_BASIS - 1 or exhausted:
                found = self._project(basis[:m], projected[:m, :m], start)
                now = found.coefficients(self._check_times)
                change = now.copy()
                change[:len(before)] -= before
                before = now
                settled = m >= MIN_BASIS and np.abs(change.T @ basis[:m]).max() < self.tolerance
                if settled or exhausted:
                    found.basis = basis[:m].T.copy()
                    return found
            if m < limit:
                projected[m, m - 1] = norm
        raise NumericalError(f"the plant's step response did not reach {self.tolerance:g} K with "
                             f"{limit} Krylov vectors")

    def _project(self, basis, projected, start: float) -> StepResponse:
        """Eigen-decomposition of the projected operator; its spectrum lies in (0, 1]."""
        symmetric = np.tril(projected) + np.tril(projected, -1).T
        theta, vectors = np.linalg.eigh(symmetric)
        return StepResponse(basis.T, vectors, start * vectors[0], np.clip(theta, 1e-14, 1.0),
                            self.shift)

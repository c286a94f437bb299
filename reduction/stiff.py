"""Gramian factors of models whose rates are further apart than double precision reaches.

SLICOT's SB03OD takes sums of rates below eps times the largest entry of A for zero. The method here
is the same in complex arithmetic: every step is one triangular solve, and nothing is compared with
the largest entry.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

EPS = np.finfo(float).eps


def too_stiff(schur) -> bool:
    """Whether SB03OD would perturb sums of the slowest rates of A (k, k), in real Schur form."""
    return bool(-2 * np.diag(schur).max() <= 2 * len(schur) * EPS * np.abs(schur).max())


def stiff_factor(schur, inputs) -> np.ndarray:
    """(k, k) upper triangular S with P = S S', A P + P A' = -B B', for A in real Schur form.

    From the last state to the first, with A = [[A1, a], [0, r]], B = [B1; b] and
    S = [[S1, s], [0, t]]:

        t = ||b|| / sqrt(-2 Re r),   (A1 + conj(r) I) s = -(t a + B1 b* / t),

    and S1 is the factor for A1 and B1 - s b / t.

    Source: S. J. Hammarling, "Numerical solution of the stable, non-negative definite Lyapunov
    equation", IMA J. Numer. Anal. 2 (1982) 303-323, for several inputs without his rotations.
    """
    triangle, basis = schur, None
    if np.tril(schur, -1).any():
        triangle, basis = la.rsf2csf(schur, np.eye(len(schur)))
        inputs = basis.conj().T @ inputs
    factor = np.zeros_like(triangle)
    inputs = inputs.astype(triangle.dtype)
    for j in reversed(range(len(triangle))):
        rate, row = triangle[j, j], inputs[j]
        size = np.linalg.norm(row)
        if not size > 0:
            continue
        factor[j, j] = last = size / np.sqrt(-2 * rate.real)
        if j:
            shifted = triangle[:j, :j].copy()
            shifted[np.diag_indices(j)] += np.conj(rate)
            column = la.solve_triangular(shifted, -(last * triangle[:j, j]
                                                    + inputs[:j] @ (row.conj() / last)))
            factor[:j, j] = column
            inputs[:j] -= np.outer(column, row / last)
    if basis is None:
        return factor
    factor = basis @ factor
    # S S' is real: so is the triangle of [Re S, Im S].
    return la.rq(np.hstack([factor.real, factor.imag]), mode="economic")[0]

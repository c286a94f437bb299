"""Distance of two transfer functions: sampled over frequency, and bounded at every frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from hifuflow.job import Progress

# Number of Lanczos vectors, relative tolerance, and factor that makes the result an upper bound.
LANCZOS_VECTORS, LANCZOS_TOLERANCE, LANCZOS_MARGIN = 8, 5e-2, 1.1
TOGETHER = 3  # frequencies that share a factorization and the outputs' norm


def modal_response(modal, frequency: float) -> np.ndarray:
    """(k, m) states of the modal model at the angular frequency [rad/s]: (iw + rates)^-1 B."""
    return modal.inputs / (1j * frequency + modal.rates)[:, None]


def sweep_frequencies(interval, count: int) -> np.ndarray:
    """(count,) angular frequencies [rad/s]: 0, then evenly in the logarithm over the spectrum,
    both ends included."""
    return np.append(0.0, np.geomspace(*interval, count - 1))


def projection_bound(solver, outputs, residual) -> float:
    """Bound, over all frequencies, on the projection's error in the transfer function (2-norm).

    With the residual factor W of low-rank ADI, and ||X||_K = sqrt(||X' K^-1 X||),

        ||C (K + iwE)^-1 B - C V (V' (K + iwE) V)^-1 V' B|| <= 2 ||C'||_K ||W||_K.

    Proof. In the eigenvectors of (K, E), ADI multiplies B by r(k) = prod_j (k - s_j) / (k + s_j)
    for the decay rate k, so W = r B. The space holds the columns of y = (1 - r(k) / r(-s)) /
    (k + s) B, since the numerator vanishes at k = -s and the poles are the shifts'. So with
    x = (K + sE)^-1 B,

        x - y = (K + sE)^-1 W / r(-s),   |r(-s)| = 1 on the imaginary axis s = iw.

    In the norm of P = K + wE, v' (K + iwE) x is bounded by 1 and coercive with 1 / sqrt(2), as
    k + w >= |k + iw| >= (k + w) / sqrt(2). Cea's lemma gives the Galerkin solution's error in it
    as at most sqrt(2) times that of y, which is at most sqrt(2) ||W||_K; and C' has at most the
    norm ||C'||_K against it. The bound leaves out directions dropped from the basis (see
    `low_rank`) and the rounding of the solves.

    Parameters
    ----------
    residual : (n, m) W.
    """
    solver.factor(1.0, 0.0)
    left = largest_eigenvalue(lambda y: outputs @ solver.solve(outputs.T @ y), outputs.shape[0])
    right = np.linalg.eigvalsh(solver.gram(residual))[-1]
    return float(2 * np.sqrt(left * right))


def projection_errors(capacity, stiffness, solver, inputs, outputs, modal,
                     frequencies) -> np.ndarray:
    """(f,) bounds, at single frequencies, on the projection's error in the transfer function.

    The projected states X leave the residual R = B - (K + iwE) V X in the full model, so the
    error is C (K + iwE)^-1 R. With P = K + vE, 0 <= v <= w, every decay rate k has
    (k + v) / |k + iw| <= sqrt(1 + (v / w)^2) by Cauchy and Schwarz, and therefore, in the 2-norm,

        ||C (K + iwE)^-1 R|| <= sqrt((1 + (v / w)^2) ||C P^-1 C'|| ||R* P^-1 R||),

    without v / w at w = 0. TOGETHER frequencies share the lowest of them as v.

    Parameters
    ----------
    frequencies : (f,) angular frequencies w >= 0 [rad/s], ascending.
    """
    errors = []
    with Progress("projection errors", total=len(frequencies), unit="frequencies") as progress:
        for start in range(0, len(frequencies), TOGETHER):
            shift = frequencies[start]
            solver.factor(1.0, shift)
            left = largest_eigenvalue(lambda y: outputs @ solver.solve(outputs.T @ y),
                                      outputs.shape[0])
            for frequency in frequencies[start : start + TOGETHER]:
                right = residual_energy(capacity, stiffness, solver, inputs, modal, frequency)
                excess = 1 + (shift / frequency) ** 2 if shift else 1.0
                errors.append(np.sqrt(excess * left * right))
                progress.advance()
    return np.array(errors)


def residual_energy(capacity, stiffness, solver, inputs, modal, frequency: float) -> float:
    """||R* P^-1 R|| of `projection_errors`, with P the matrix that `solver` has factored."""
    response = modal_response(modal, frequency)
    m = response.shape[1]
    states = modal.states(np.hstack([response.real, response.imag]))
    moved, stored = stiffness @ states, frequency * (capacity @ states)
    residual = np.hstack([inputs - moved[:, :m] + stored[:, m:], -moved[:, m:] - stored[:, :m]])
    gram = solver.gram(residual)
    gram = gram[:m, :m] + gram[m:, m:] + 1j * (gram[:m, m:] - gram[m:, :m])
    return max(float(np.linalg.eigvalsh((gram + gram.conj().T) / 2)[-1]), 0.0)


def largest_eigenvalue(apply, n: int) -> float:
    """Upper bound on the largest eigenvalue of a positive semidefinite operator (n, n).

    Lanczos approaches it from below, to 5 %; 10 % are added.
    """
    if n <= LANCZOS_VECTORS:
        return float(np.linalg.eigvalsh(np.column_stack([apply(y) for y in np.eye(n)]))[-1])
    start = np.random.default_rng(1).standard_normal(n)
    operator = LinearOperator((n, n), matvec=lambda y: apply(y.ravel()), dtype=float)
    eigenvalue = eigsh(operator, k=1, ncv=LANCZOS_VECTORS, tol=LANCZOS_TOLERANCE, v0=start,
                       return_eigenvectors=False)[0]
    return LANCZOS_MARGIN * float(eigenvalue.real)


@dataclass
class Sweep:
    """Largest singular values of two transfer functions at sampled frequencies [output per input].

    Attributes
    ----------
    gain : (f,) of the full model.  error : (f,) of its difference from the reduced model.
    projection : (f,) bound on the projection's error (`projection_errors`). It is added to the
        other two, which are therefore not below the true values at these frequencies.
    slowest : largest real part of the reduced model's eigenvalues [1/s].
    """

    gain: np.ndarray
    error: np.ndarray
    projection: np.ndarray
    slowest: float


def frequency_sweep(modal, reduced, frequencies, projection) -> Sweep:
    """Compare the transfer functions of the full model and of a reduced one.

    Parameters
    ----------
    modal : the full model, projected.  reduced : A, B, C with the same inputs and outputs.
    frequencies : (f,) angular frequencies [rad/s].
    projection : (f,) `projection_errors` of the modal model.
    """
    rates, vectors = np.linalg.eig(reduced.A)
    inputs, outputs = np.linalg.solve(vectors, reduced.B.astype(complex)), reduced.C @ vectors
    gain, error = np.empty(len(frequencies)), np.empty(len(frequencies))
    for k, frequency in enumerate(frequencies):
        projected = real_times(modal.outputs, modal_response(modal, frequency))
        truncated = outputs @ (inputs / (1j * frequency - rates)[:, None])
        gain[k] = largest_singular_value(projected)
        error[k] = largest_singular_value(projected - truncated)
    return Sweep(gain + projection, error + projection, projection, float(rates.real.max()))


def largest_singular_value(matrix) -> float:
    """Spectral norm of a tall matrix, from its small Gram matrix."""
    scale = np.abs(matrix).max()
    if scale == 0:
        return 0.0
    matrix = matrix / scale
    return float(scale * np.sqrt(np.linalg.eigvalsh(matrix.conj().T @ matrix)[-1]))


def real_times(matrix, block) -> np.ndarray:
    """Real (sparse) matrix times a complex block, without a complex copy of the matrix."""
    columns = block.shape[1]
    both = matrix @ np.hstack([block.real, block.imag])
    return both[:, :columns] + 1j * both[:, columns:]

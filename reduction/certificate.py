"""How far the reduced model is from the full one: over frequency, and over a treatment."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
from scipy.sparse.linalg import LinearOperator, eigsh

from hifuflow.job import Progress

# Alexander's two-stage, second-order, L-stable method: the stages share one matrix.
GAMMA = 1 - np.sqrt(0.5)
LANCZOS_VECTORS = 8


def switching_treatment(n_foci: int, power: float, samples: int, seed: int = 1) -> np.ndarray:
    """A reproducible treatment: one focus at a time at full power, pauses to cool in between.

    Foci come in random order, each until all were visited; each is heated for 1 to 10 samples,
    and after about one focus in five the power is off for 1 to 5 samples.

    Returns
    -------
    (samples, n_foci) acoustic power [W] over each sample interval.
    """
    random = np.random.default_rng(seed)
    sequence = []
    while len(sequence) < samples:
        for focus in random.permutation(n_foci):
            sequence += [focus] * random.integers(1, 11)
            if random.random() < 0.2:
                sequence += [-1] * random.integers(1, 6)
    sequence = np.array(sequence[:samples])
    powers = np.zeros((samples, n_foci))
    heated = sequence >= 0
    powers[np.flatnonzero(heated), sequence[heated]] = power
    return powers


class FullStepper:
    """One time step of E x' = -K x + B u with the L-stable method, for constant u.

        (E + g h K) X1 = E x + g h B u,   X1' = (X1 - x) / (g h)
        (E + g h K) x+ = E (x + (1 - g) h X1') + g h B u,   g = 1 - sqrt(1/2)

    Source: R. Alexander, "Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s", SIAM J.
    Numer. Anal. 14 (1977) 1006-1021.
    """

    def __init__(self, capacity, solver, inputs, step: float):
        self.capacity, self.inputs, self.solver = capacity, inputs, solver
        solver.factor(GAMMA * step, 1.0)
        self.part = GAMMA * step

    def __call__(self, x, power):
        load = self.part * (self.inputs @ power)
        stage = self.solver.solve(self.capacity @ x + load)
        ahead = x + (1 - GAMMA) / GAMMA * (stage - x)
        return self.solver.solve(self.capacity @ ahead + load)


class DenseStepper:
    """The same time step for x' = A x + B u, as two dense matrices: x+ = F x + G u."""

    def __init__(self, a, b, step: float):
        n = len(a)
        factor = la.lu_factor(np.eye(n) - GAMMA * step * a)
        both = np.eye(n, n + b.shape[1])
        load = np.zeros_like(both)
        load[:, n:] = GAMMA * step * b
        stage = la.lu_solve(factor, both + load)
        ahead = both + (1 - GAMMA) / GAMMA * (stage - both)
        both = la.lu_solve(factor, ahead + load)
        self.f, self.g = both[:, :n].copy(), both[:, n:].copy()

    def __call__(self, x, power):
        return self.f @ x + self.g @ power


def replay_error(full, full_outputs, reduced, reduced_outputs, powers, substeps: int):
    """(p,) largest difference [K] of each output between two steppers over a treatment.

    Both use the same method and step, so the error of the time stepping is the same rational
    function on both sides and only the reduction is seen.
    """
    x = np.zeros(full_outputs.shape[1])
    z = np.zeros(reduced_outputs.shape[1])
    worst = np.zeros(full_outputs.shape[0])
    with Progress("replayed treatment", total=len(powers), unit="samples") as progress:
        for power in powers:
            for _ in range(substeps):
                x, z = full(x, power), reduced(z, power)
            np.maximum(worst, np.abs(full_outputs @ x - reduced_outputs @ z), out=worst)
            progress.advance(1, f"{worst.max():.1e} K")
    return worst


def modal_response(modal, frequency: float) -> np.ndarray:
    """(k, m) states of the modal model at the angular frequency [rad/s]: (iw + rates)^-1 B."""
    return modal.inputs / (1j * frequency + modal.rates)[:, None]


def projection_bound(capacity, stiffness, solver, inputs, outputs, modal,
                     frequency: float) -> float:
    """Bound on what the projection changes in the transfer function at one frequency (2-norm).

    The projected states X leave the residual R = B - (K + iwE) V X in the full model, so the
    error is C (K + iwE)^-1 R. With P = K + wE, |1 / (k + iw)| <= sqrt(2) / (k + w) for every
    decay rate k, and therefore

        ||C (K + iwE)^-1 R|| <= sqrt(2 ||C P^-1 C'|| ||R* P^-1 R||),

    without the factor 2 at w = 0. Both norms come from Lanczos iterations: forming P^-1 R, 45
    complex columns in the reference case, would take most of the sweep's time.

    Parameters
    ----------
    frequency : angular frequency w >= 0 [rad/s].
    """
    solver.factor(1.0, frequency)
    states = real_times(modal.basis, modal_response(modal, frequency))
    residual = (inputs - real_times(stiffness, states)
                - 1j * frequency * real_times(capacity, states))
    left = largest_eigenvalue(lambda y: outputs @ solver.solve(outputs.T @ y), outputs.shape[0])
    right = largest_eigenvalue(lambda y: residual.conj().T @ solver.solve(residual @ y),
                               residual.shape[1], complex)
    return float(np.sqrt((2 if frequency else 1) * left * right))


def largest_eigenvalue(apply, n: int, dtype=float) -> float:
    """Largest eigenvalue of a positive semidefinite operator (n, n), not below the true one.

    Lanczos finds it to 5 %, from below; 10 % are added.
    """
    if n <= LANCZOS_VECTORS:
        return float(np.linalg.eigvalsh(np.column_stack([apply(y) for y in np.eye(n)]))[-1])
    start = np.random.default_rng(1).standard_normal(n).astype(dtype)
    operator = LinearOperator((n, n), matvec=lambda y: apply(y.ravel()), dtype=dtype)
    return 1.1 * float(eigsh(operator, k=1, ncv=LANCZOS_VECTORS, tol=5e-2, v0=start,
                              return_eigenvectors=False)[0].real)


def sweep_frequencies(interval, count: int) -> np.ndarray:
    """(count,) angular frequencies [rad/s]: 0, then evenly in the logarithm over the spectrum,
    both ends included."""
    return np.append(0.0, np.geomspace(*interval, count - 1))


def frequency_sweep(capacity, stiffness, solver, inputs, outputs, modal, reduced, frequencies):
    """Largest singular values over frequency: full model, total error, and projection alone.

    Parameters
    ----------
    reduced : `Balanced` model of the same outputs.

    Returns
    -------
    dict of "gain", "error" and "projection" [output per input], each the maximum over the sampled
    frequencies only. "projection" is a bound at each of them and part of the other two, which
    are thus not below the true values there.
    """
    peak = {"gain": 0.0, "error": 0.0, "projection": 0.0}
    identity = np.eye(len(reduced.A))
    with Progress("frequency sweep", total=len(frequencies), unit="frequencies") as progress:
        for frequency in frequencies:
            projected = real_times(modal.outputs, modal_response(modal, frequency))
            states = np.linalg.solve(1j * frequency * identity - reduced.A, reduced.B)
            truncated = real_times(reduced.C, states)
            lost = projection_bound(capacity, stiffness, solver, inputs, outputs, modal,
                                    frequency)
            found = {"gain": largest_singular_value(projected) + lost,
                     "error": largest_singular_value(projected - truncated) + lost,
                     "projection": lost}
            peak = {name: max(value, found[name]) for name, value in peak.items()}
            progress.advance()
    return peak


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

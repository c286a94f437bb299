"""How far the reduced model is from the full one: over frequency, and over a treatment."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
from scipy.sparse.linalg import LinearOperator, eigsh

from hifuflow.job import Progress

# Alexander's two-stage, second-order, L-stable method: the stages share one matrix.
GAMMA = 1 - np.sqrt(0.5)


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


def projection_error(capacity, stiffness, solver, inputs, outputs, modal, frequency: float,
                     corrections: int = 2) -> tuple[np.ndarray, float]:
    """What the projection changes in the transfer function at one frequency, and how surely.

    The projected states X leave the residual R = B - (K + iwE) V X in the full model, so the
    error is C D, D = (K + iwE)^-1 R. With P = K + wE the spectrum of P^-1 (K + iwE) lies on the
    straight line from i to 1; Chebyshev iteration for this line, one solve with P a step,
    divides the error by 1 + sqrt 2 each time. What is left of D after it, with the residual R',
    is at most sqrt(2) ||R'|| in the norms of P and its inverse.

    Parameters
    ----------
    frequency : angular frequency w >= 0 [rad/s].  corrections : steps of the iteration.

    Returns
    -------
    error : (p, m) complex, C D after the iteration.
    remainder : bound on the 2-norm of what `error` leaves out.
    """
    def apply(x):
        return real_times(stiffness, x) + 1j * frequency * real_times(capacity, x)

    solver.factor(1.0, frequency)
    residual = inputs - apply(real_times(modal.basis, modal_response(modal, frequency)))
    far = 1j if frequency else 1.0
    centre, half = (1 + far) / 2, (1 - far) / 2
    solution = np.zeros_like(residual)
    scaled = direction = solver.solve(residual)
    length = 1 / centre
    for step in range(corrections):
        solution = solution + length * direction
        residual = residual - length * apply(direction)
        scaled = solver.solve(residual)
        back = (half * length) ** 2 / (2 if step == 0 else 4)
        length = 1 / (centre - back / length)
        direction = scaled + back * direction
    left = np.linalg.norm(residual.conj().T @ scaled, 2)
    return real_times(outputs, solution), float(np.sqrt(2 * left) * output_gain(solver, outputs))


def output_gain(solver, outputs) -> float:
    """Largest ||C x|| / ||x||_P, P the matrix that `solver` has factored, by Lanczos."""
    p = outputs.shape[0]
    gram = LinearOperator((p, p), matvec=lambda y: outputs @ solver.solve(outputs.T @ y.ravel()),
                          dtype=float)
    largest = eigsh(gram, k=1, tol=1e-3, v0=np.ones(p), return_eigenvectors=False)[0]
    return float(np.sqrt(1.01 * largest))


def sweep_frequencies(interval, count: int) -> np.ndarray:
    """(count,) angular frequencies [rad/s]: 0, then evenly in the logarithm over the spectrum."""
    return np.append(0.0, np.geomspace(*interval, count - 1))


def frequency_sweep(capacity, stiffness, solver, inputs, outputs, modal, reduced, frequencies):
    """Largest singular values over frequency: full model, total error, and projection alone.

    Parameters
    ----------
    reduced : `Balanced` model of the same outputs.

    Returns
    -------
    dict of "gain", "error" and "projection" [output per input]; "projection" includes what its
    estimate may leave out, "error" is added up from the two stages.
    """
    peak = {"gain": 0.0, "error": 0.0, "projection": 0.0}
    identity = np.eye(len(reduced.A))
    with Progress("frequency sweep", total=len(frequencies), unit="frequencies") as progress:
        for frequency in frequencies:
            projected = real_times(modal.outputs, modal_response(modal, frequency))
            states = np.linalg.solve(1j * frequency * identity - reduced.A, reduced.B)
            truncated = real_times(reduced.C, states)
            lost, remainder = projection_error(capacity, stiffness, solver, inputs, outputs,
                                               modal, frequency)
            found = {"gain": largest_singular_value(projected + lost) + remainder,
                     "error": largest_singular_value(projected - truncated + lost) + remainder,
                     "projection": largest_singular_value(lost) + remainder}
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

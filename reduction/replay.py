"""The same treatment in two models: how far their temperatures are apart."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from hifuflow.job import Progress

# Alexander's two-stage, second-order, L-stable method: the stages share one matrix.
GAMMA = 1 - np.sqrt(0.5)
TOGETHER = 30  # samples whose outputs are computed in one product


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


class DiagonalStepper:
    """The same time step for x' = -diag(rates) x + B u."""

    def __init__(self, rates, b, step: float):
        stage = 1 / (1 + GAMMA * step * rates)
        part = (1 - GAMMA) / GAMMA
        self.f = stage * (1 - part + part * stage)
        self.g = (GAMMA * step * stage * (1 + part * stage))[:, None] * b

    def __call__(self, x, power):
        return self.f * x + self.g @ power


def replayed(stepper, outputs, powers) -> np.ndarray:
    """(samples, p) temperature rise [K] at the end of each sample, one time step per sample.

    Full and reduced model take the same method and step, so the error of the time stepping is
    the same rational function on both sides and only the reduction is seen.
    """
    x = np.zeros(outputs.shape[1])
    seen = np.empty((len(powers), outputs.shape[0]))
    with Progress("replayed treatment", total=len(powers), unit="samples") as progress:
        for start in range(0, len(powers), TOGETHER):
            part = powers[start : start + TOGETHER]
            states = np.empty((len(x), len(part)), order="F")
            for k, power in enumerate(part):
                states[:, k] = x = stepper(x, power)
            seen[start : start + len(part)] = (outputs @ states).T
            progress.advance(len(part))
    return seen


def replay_error(truth, reduced, powers, step: float) -> np.ndarray:
    """(p,) largest difference [K] of each output of a reduced model from `truth` (samples, p)."""
    diagonal = np.diag(reduced.A)
    if np.array_equal(reduced.A, np.diag(diagonal)):
        stepper = DiagonalStepper(-diagonal, reduced.B, step)
    else:
        stepper = DenseStepper(reduced.A, reduced.B, step)
    return np.abs(replayed(stepper, reduced.C, powers) - truth).max(axis=0)

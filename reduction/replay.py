"""A treatment replayed in the full and in a reduced model, and the difference of temperatures."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from hifuflow.job import Progress

PART = 2 / 3  # factor of the step before K in BDF2's matrix
TOGETHER = 30  # samples whose outputs are computed in one product


def switching_treatment(n_foci: int, power: float, samples: int, seed: int = 1) -> np.ndarray:
    """A reproducible treatment: one focus at a time at full power, with pauses to cool.

    All foci are visited in random order, then again in another. Each is heated for 1 to 10
    samples. After about one focus in five the power is off for 1 to 5 samples.

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


class Stepper:
    """Time stepper of E x' = -K x + B u from rest, by BDF2, with u constant over each step.

        (E + 2/3 h K) x(k+1) = E (4 x(k) - x(k-1)) / 3 + h B (u(k) - u(k-1) / 3)

    The method is second-order and L-stable, with one solve per step. The load adds up to h B u(k)
    over the following steps, so that a switch of the power heats at the right time.

    Parameters
    ----------
    capacity : function x -> E x.  solve : function from the right-hand side to x.
    inputs : (n, m) B.  step : h [s].

    Source: C. F. Curtiss, J. O. Hirschfelder, "Integration of stiff equations", Proc. Natl. Acad.
    Sci. 38 (1952) 235-243.
    """

    def __init__(self, capacity, solve, inputs, step: float):
        self.capacity, self.solve, self.inputs, self.step = capacity, solve, inputs, step
        self.before = self.now = np.zeros(len(inputs))
        self.last = np.zeros(inputs.shape[1])

    def __call__(self, power) -> np.ndarray:
        """(n,) x at the end of a step with `power` (m,)."""
        load = self.capacity((4 * self.now - self.before) / 3)
        load = load + self.step * (self.inputs @ (power - self.last / 3))
        self.before, self.now, self.last = self.now, self.solve(load), power
        return self.now


def full_stepper(capacity, solver, inputs, step: float) -> Stepper:
    """Stepper of the full model, by its `ShiftedSolver`, which must keep this factor meanwhile."""
    solver.factor(PART * step, 1.0)
    return Stepper(capacity.__matmul__, solver.solve, inputs, step)


def reduced_stepper(a, inputs, step: float) -> Stepper:
    """Stepper of x' = A x + B u with a diagonal or dense A (k, k)."""
    rates = np.diag(a)
    if np.array_equal(a, np.diag(rates)):
        damping = 1 / (1 - PART * step * rates)
        return Stepper(np.asarray, damping.__mul__, inputs, step)
    # As `scipy.linalg.inv` does it, without its warning where rates are far apart.
    factor, pivots, _ = la.lapack.dgetrf(np.eye(len(a)) - PART * step * a)
    inverse = la.lapack.dgetri(factor, pivots)[0]
    return Stepper(np.asarray, inverse.__matmul__, inputs, step)


def replayed(stepper, outputs, powers) -> np.ndarray:
    """(samples, p) temperature rise [K] at the end of each sample, one time step per sample.

    Full and reduced model use the same method and step, so the error of the time stepping is the
    same rational function in both, and only the error of the reduction remains.
    """
    seen = np.empty((len(powers), outputs.shape[0]))
    with Progress("replayed treatment", total=len(powers), unit="samples") as progress:
        for start in range(0, len(powers), TOGETHER):
            part = powers[start : start + TOGETHER]
            states = np.column_stack([stepper(power) for power in part])
            seen[start : start + len(part)] = (outputs @ states).T
            progress.advance(len(part))
    return seen


def replay_error(truth, reduced, powers, step: float) -> np.ndarray:
    """(p,) largest difference [K] of each output of a reduced model from `truth` (samples, p)."""
    stepper = reduced_stepper(reduced.A, reduced.B, step)
    return np.abs(replayed(stepper, reduced.C, powers) - truth).max(axis=0)

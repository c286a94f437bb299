"""States that heating can reach from the baseline, as modes that decay each by itself.

E x' = -K x + B u with x(0) = 0 stays, to a tolerance, in a space of a few hundred dimensions
whatever the powers u(t) are. It is spanned by the columns of

    (E + g K)^-1 B,   (E + g K)^-1 E (E + g K)^-1 B

for shifts g from the shortest to the longest time that matters: a block rational Krylov space. The
Galerkin projection onto it agrees with the transfer function at each s = 1/g, and with its slope. E
and K are symmetric and positive definite, so the projection is too, and decays whatever the step.
Between the shifts, and beyond both ends, its transfer function is compared with the true one at all
unknowns; where it is off by more than the tolerance, further shifts join, between and beyond.
Source: A. C. Antoulas, Approximation of Large-Scale Dynamical Systems, SIAM, 2005, part IV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg as la

from hifuflow.errors import NumericalError
from hifuflow.numerics.cholesky import ShiftedSolver

PER_DECADE = 2.0  # shifts
DEPTH = 2  # vectors of a shift for each load
DROPPED = 1 / 6  # of the tolerance: directions that hold less of every vector are left out
SHARPEST = 1e-10  # of a vector: what is smaller is rounding
RESOLVED = 1e-14  # of the largest eigenvalue of a Gram matrix
AT_ONCE = 1000  # vectors that join the space together
ROUNDS = 4


@dataclass(frozen=True)
class ReachableSpace:
    """Modes of a heated body: x = V z, z_i' = -rate_i z_i + load_i u.

    Attributes
    ----------
    modes : (n, r) V, E-orthonormal.
    rate : (r,) [1/s].
    load : (r, n_inputs) V' B.
    error : largest error that was found at any unknown, at full power [K].
    """

    modes: np.ndarray
    rate: np.ndarray
    load: np.ndarray
    error: float

    def after(self, state: np.ndarray, power: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(r, n_times) modal states at times [s] after `state` (r,), with constant power [W].

        z(t) = e^(-rate t) z + (1 - e^(-rate t)) / rate load u, exact.
        """
        left = np.exp(-np.outer(self.rate, times))
        steady = self.load @ power / self.rate
        return left * (state - steady)[:, None] + steady[:, None]


def reachable_space(E, K, loads: np.ndarray, power: float, times: tuple[float, float],
                    tolerance: float) -> ReachableSpace:
    """The space that loads reach.

    Parameters
    ----------
    E, K : (n, n) sparse, symmetric positive definite [J/K], [W/K].
    loads : (n, n_inputs) [W per W].
    power : to which `tolerance` refers [W].
    times : the shortest and the longest that matter [s].
    tolerance : largest error of the transfer function at any unknown, as the temperature that full
        power leads to [K].

    Raises
    ------
    NumericalError : the tolerance is not met, or a load is not finite.
    """
    if not np.isfinite(loads).all():
        raise NumericalError("the load of the plant is not finite")
    inputs = np.flatnonzero(loads.any(axis=0))
    heated = loads[:, inputs] * power
    n = len(heated)
    if not len(inputs):
        return ReachableSpace(np.zeros((n, 0)), np.zeros(0), np.zeros((0, loads.shape[1])), 0.0)
    solver, modes, per_decade = ShiftedSolver(E, K), np.zeros((n, 0)), PER_DECADE
    shortest, longest = times
    for _ in range(ROUNDS):
        count = 1 + int(np.ceil(per_decade * np.log10(longest / shortest)))
        shifts = np.geomspace(shortest, longest, count)
        blocks = [_solutions(solver, E, heated, shift) for shift in shifts]
        highest = max(shift * np.abs(block[:, :len(inputs)]).max()
                      for shift, block in zip(shifts, blocks, strict=True))
        least = max(DROPPED * tolerance / highest, SHARPEST)
        modes, rate = _decoupled(E, K, _joined(E, modes, blocks, least))
        space = ReachableSpace(modes, rate, modes.T @ loads, 0.0)
        middle = len(shifts) // 2
        between = [shifts[0] / 3, np.sqrt(shifts[0] * shifts[1]),
                   np.sqrt(shifts[middle - 1] * shifts[middle]), shifts[-1] * 3]
        error = max(_error(space, solver, heated, modes.T @ heated, shift) for shift in between)
        if error <= tolerance:
            return replace(space, error=error)
        per_decade *= 1.5  # few of these shifts were among the last
        shortest, longest = shortest / 3, 3 * longest
    raise NumericalError(f"the space that the foci reach was not found to {tolerance:g} K: "
                         f"{error:.1e} K with {modes.shape[1]} of {n} dimensions")


def _error(space: ReachableSpace, solver: ShiftedSolver, heated, projected, shift: float) -> float:
    """Largest error of shift (E + shift K)^-1 heated at any unknown [K]."""
    exact = solver.factor(shift, 1.0).solve(heated)
    return shift * np.abs(
        exact - space.modes @ (projected / (1 + shift * space.rate)[:, None])).max()


def _solutions(solver: ShiftedSolver, E, heated: np.ndarray, shift: float) -> np.ndarray:
    """(n, DEPTH n_inputs) what a shift contributes to the space."""
    solver.factor(shift, 1.0)
    blocks = [solver.solve(heated)]
    for _ in range(DEPTH - 1):
        blocks.append(solver.solve(E @ blocks[-1]))
    return np.hstack(blocks)


def _joined(E, modes: np.ndarray, blocks: list[np.ndarray], least: float) -> np.ndarray:
    """E-orthonormal basis of `modes`, which is one, and what blocks of vectors add to it.

    `least` is the share of a vector that a direction holds at least.
    """
    while blocks:
        taken = max(1, AT_ONCE // blocks[0].shape[1])
        vectors, blocks = np.hstack(blocks[:taken]), blocks[taken:]
        vectors /= np.sqrt(np.einsum("nm,nm->m", vectors, E @ vectors))
        floor = np.inf
        while floor > least ** 2:
            for _ in range(2 if modes.size else 0):  # twice, so that nothing of the modes is left
                vectors -= modes @ (modes.T @ (E @ vectors))
            size, directions = la.eigh(vectors.T @ (E @ vectors))
            # Smaller ones drown in the rounding of the largest: they come when that has gone.
            floor = max(least ** 2, RESOLVED * size[-1])
            new = size > floor
            modes = np.hstack([modes, vectors @ (directions[:, new] / np.sqrt(size[new]))])
    return modes


def _decoupled(E, K, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same space by E-orthonormal vectors that are K-orthogonal, and their rates."""
    rate, directions = la.eigh(basis.T @ (K @ basis), basis.T @ (E @ basis))
    return basis @ directions, rate

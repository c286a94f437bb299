"""A model in its real modes: A in blocks of one and two states, exact and cheap steps in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hifuflow.errors import NumericalError

# Relative error of the real modal form, estimated as eps times the condition of the
# eigenvectors, above which it is refused.
ACCURACY = 1e-8


def modal_realization(a, inputs, outputs):
    """Real modal form of x' = A x + B u, y = C x: the same transfer function, A block-diagonal.

    A real eigenvalue -a is one state; a pair -a +- ib is two, with the block [[-a, b], [-b, -a]].
    Slow modes come first; each block's rows of B and columns of C have the same norm.

    Parameters
    ----------
    a : (r, r).  inputs : (r, m).  outputs : (p, r).

    Returns
    -------
    A (r, r) with at most two entries in a row, B (r, m), C (p, r).

    Raises
    ------
    NumericalError : the eigenvectors are too close to dependent for ACCURACY.
    """
    rates, vectors = la.eig(a)
    kept = np.flatnonzero(rates.imag >= 0)
    kept = kept[np.argsort(-rates[kept].real, kind="stable")]
    blocks, columns = np.zeros((len(a), len(a))), []
    for mode in kept:
        at, rate = len(columns), rates[mode]
        columns.append(vectors[:, mode].real)
        blocks[at, at] = rate.real
        if rate.imag:
            columns.append(vectors[:, mode].imag)
            blocks[at : at + 2, at : at + 2] = [[rate.real, rate.imag], [-rate.imag, rate.real]]
    basis = np.column_stack(columns)
    factor = la.lu_factor(basis)
    # Reciprocal of the condition, estimated from the factor (LAPACK's gecon).
    sound = la.lapack.dgecon(factor[0], np.linalg.norm(basis, 1))[0]
    if not sound * ACCURACY > np.finfo(float).eps:
        raise NumericalError(f"no accurate modal form: the condition of the {len(a)} eigenvectors "
                             f"is 1 / {sound:.1e}, allowed is {ACCURACY / np.finfo(float).eps:.1e}")
    inputs, outputs = la.lu_solve(factor, inputs), outputs @ basis
    partner = partners(blocks)
    into, out = np.linalg.norm(inputs, axis=1), np.linalg.norm(outputs, axis=0)
    into, out = np.hypot(into, into[partner]), np.hypot(out, out[partner])
    scale = np.sqrt(np.divide(into, out, out=np.ones_like(into), where=(into > 0) & (out > 0)))
    return blocks, inputs / scale[:, None], outputs * scale


def partners(a) -> np.ndarray:
    """(r,) the other state of each state's block, or the state itself.

    Raises
    ------
    NumericalError : A is not block-diagonal in blocks of one and two states.
    """
    r = len(a)
    above, below = np.append(np.diag(a, 1), 0.0), np.append(0.0, np.diag(a, -1))
    partner = np.arange(r) + (above != 0) - (below != 0)
    rest = np.array(a)
    rest[np.arange(r), np.arange(r)] = rest[np.arange(r), partner] = 0
    paired = np.array_equal(partner[partner], np.arange(r))
    if not paired or rest.any():
        raise NumericalError("the state matrix is not in real modal form")
    return partner


@dataclass
class HeldModel:
    """x(k+1) = exp(h A) x(k) + int_0^h exp(s A) ds B u(k), y = C x, in the modes of a model.

    Exact for inputs held over the interval h, in some 3 r multiplications and r more for each
    input that is on, in place of r^2.

    Attributes
    ----------
    decay, turn : (r,) x+ = decay x + turn x[partner] + load' u.  partner : (r,).
    load : (m, r), one row for each input.  C : (p, r).  interval : h [s].
    """

    decay: np.ndarray
    turn: np.ndarray
    partner: np.ndarray
    load: np.ndarray
    C: np.ndarray
    interval: float

    @classmethod
    def sampled(cls, rom, interval: float) -> HeldModel:
        """Of a `ReducedModel`, for any interval h > 0 [s].

        Raises
        ------
        NumericalError : it has no accurate modal form.
        """
        a, inputs, outputs = modal_realization(rom.A, rom.B, rom.C)
        partner = partners(a)
        r = np.arange(len(a))
        cross = np.where(partner == r, 0.0, a[r, partner])
        rate = np.diag(a) + 1j * cross
        growth = np.exp(interval * rate)
        held = np.divide(np.expm1(interval * rate), rate, out=np.full_like(rate, interval),
                         where=rate != 0)
        load = held.real[:, None] * inputs + held.imag[:, None] * inputs[partner]
        return cls(growth.real.copy(), growth.imag.copy(), partner, np.ascontiguousarray(load.T),
                   outputs, interval)

    def __call__(self, state, power) -> np.ndarray:
        """(r,) state after one interval of `power` (m,) [W]."""
        following = self.decay * state
        following += self.turn * state.take(self.partner)
        on = power.nonzero()[0]
        if len(on) == 1:  # mostly one focus: its row is read where it lies
            following += power[on[0]] * self.load[on[0]]
        else:
            following += power[on] @ self.load[on]
        return following

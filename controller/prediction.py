"""Predictions with the reduced model: from sample to sample, and in blocks of samples."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hifuflow.errors import InputError, NumericalError
from hifuflow.records.outputs import Outputs
from hifuflow.records.reduced_model import ReducedModel

# Arithmetic with denormal numbers takes a hundred times as long. What has decayed is kept above
# them by adding `NORMAL` to modal states, and rates below `LEAST_RATE` count as zero.
NORMAL, LEAST_RATE = np.complex64(1e-22 + 1e-22j), 1e-12
ACCURACY = 1e-3  # of the modal form, of the largest response


@dataclass(frozen=True)
class DiscreteModel:
    """Reduced model from sample to sample: x(k+1) = A x(k) + B u(k), temperatures = baseline + C x.

    A = exp(h A_c) and B = int_0^h exp(s A_c) ds B_c, exact for power held over the sample h.

    Attributes
    ----------
    A : (r, r).  B : (r, n_foci) [1/W].  C : (p, r) [K].
    interval : h [s].  outputs, foci : as in `ReducedModel`.
    truncation_bound : (>= r,) bound on the change by keeping so many states [K/W].
    C_mean : (p, r) [K], like C, but means over the target's voxels; by default C.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    interval: float
    outputs: Outputs
    foci: np.ndarray
    truncation_bound: np.ndarray
    C_mean: np.ndarray | None = None

    def __post_init__(self):
        if self.C_mean is None:
            object.__setattr__(self, "C_mean", self.C)

    @classmethod
    def sampled(cls, rom: ReducedModel, interval: float, error: float = 0.0) -> DiscreteModel:
        """Zero-order-hold discretisation by one matrix exponential of [[A, B], [0, 0]].

        The states of a balanced model are in falling order of importance: of those that together
        change no output by more than `error` none is kept.

        Parameters
        ----------
        rom : the reduced model, balanced.
        interval : h [s].
        error : by which leaving out states may change an output at most [K/W]; 0 keeps all.

        Raises
        ------
        InputError : the model has a feedthrough D: no temperature jumps with the power.
        """
        if rom.D.any():
            raise InputError("power that changes a temperature at once", key="D",
                             allowed="a reduced model of heat, with D = 0")
        r, inputs = rom.order, rom.B.shape[1]
        if error:
            r = leading_states(rom.truncation_bound, error, r)
        block = np.zeros((r + inputs, r + inputs))
        block[:r, :r], block[:r, r:] = rom.A[:r, :r] * interval, rom.B[:r] * interval
        exponential = la.expm(block)
        return cls(np.ascontiguousarray(exponential[:r, :r]),
                   np.ascontiguousarray(exponential[:r, r:]), rom.C[:, :r], interval,
                   rom.outputs, rom.foci, rom.truncation_bound, rom.C_mean[:, :r])

    @property
    def constraint_rows(self) -> np.ndarray:
        """(n_c, r) rows of C at the constraint points."""
        return self.C[self.outputs.constraint]

    @property
    def target_rows(self) -> np.ndarray:
        """(n_v, r) rows of C at the target voxels."""
        return self.C[self.outputs.target]


def leading_states(bound: np.ndarray, error: float, order: int) -> int:
    """Number of states, of `order`, whose truncation changes nothing by more than `error` [K/W]."""
    return min(int(np.count_nonzero(bound > error)) + 1, order)


class BlockModel:
    """Truncated reduced model in modal form, from block to block of constant power.

    z_i' = lambda_i z_i + b_i u decouple, and the outputs of many times are one matrix product.
    The states of a balanced model are in falling order of importance, so the leading ones are kept.

    Parameters
    ----------
    model : the reduced model from sample to sample.
    error : the truncation is the shortest with an error bound of at most this [K/W].
    samples : samples of a block.

    Attributes
    ----------
    order : number of states kept.  interval : length of a block [s].
    error : largest Hankel singular value that is cut off [K/W]. The error of the truncation is at
        least this; its bound, twice the sum of all of them, is pessimistic by orders of magnitude.

    Raises
    ------
    NumericalError
        if the model has no accurate modal form.
    """

    def __init__(self, model: DiscreteModel, error: float, samples: int = 1):
        self.order = leading_states(model.truncation_bound, error, len(model.A))
        bound = model.truncation_bound
        self.error = float((bound[self.order - 1] - bound[self.order]) / 2
                           if self.order < len(bound) else bound[self.order - 1])
        rate, modes = la.eig(model.A[:self.order, :self.order])
        weights = la.solve(modes, model.B[:self.order].astype(complex))
        kept = rate.imag >= 0  # of a conjugate pair one stands for both
        self._from_state = np.linalg.inv(modes)[kept]
        rate, weights, rows = rate[kept], weights[kept], (model.C[:, :self.order] @ modes)[:, kept]
        self._pair = rate.imag > 0
        rows = np.where(self._pair, 2 * rows, rows)
        growth = sum(rate ** k for k in range(samples))
        self._growth = rate
        self.rate = self.decay(samples)
        self.input = (growth[:, None] * weights).astype(np.complex64)
        self._real = np.ascontiguousarray(rows.real, dtype=np.float32)
        self._imaginary = np.ascontiguousarray(rows.imag[:, self._pair], dtype=np.float32)
        self.interval, self._samples = samples * model.interval, samples
        self._check(model)

    def _check(self, model: DiscreteModel) -> None:
        """Refuse a modal form that rounding has spoilt, as for a model with nearly equal modes."""
        A, B, C = (model.A[:self.order, :self.order], model.B[:self.order],
                   model.C[:, :self.order])
        state = B
        for _ in range(self._samples - 1):
            state = A @ state + B
        exact = C @ state
        off = np.abs(self.outputs(self.input) - exact).max(initial=0.0)
        if not off <= ACCURACY * np.abs(exact).max(initial=0.0):
            raise NumericalError("the reduced model has no accurate modal form: its response to a "
                                 f"block of power is off by {off:.1e} K/W")

    def modal(self, state: np.ndarray) -> np.ndarray:
        """Modal coordinates of a state of the reduced model."""
        return (self._from_state @ state[:self.order]).astype(np.complex64)

    def decay(self, samples: int) -> np.ndarray:
        """What is left of each mode after so many samples."""
        left = (self._growth ** samples).astype(np.complex64)
        left.real[np.abs(left.real) < LEAST_RATE] = 0
        left.imag[np.abs(left.imag) < LEAST_RATE] = 0
        return left

    def part(self, rows: np.ndarray) -> BlockModel:
        """The same model with some of its outputs."""
        part = copy(self)
        part._real, part._imaginary = self._real[rows], self._imaginary[rows]
        return part

    def amplified(self, gain: np.ndarray | None) -> BlockModel:
        """The same model with foci that heat by these factors (n_foci,) more."""
        if gain is None:
            return self
        amplified = copy(self)
        amplified.input = self.input * gain.astype(np.float32)
        return amplified

    def with_recent(self, rise: np.ndarray, gain: np.ndarray, left: float) -> BlockModel:
        """The same model with outputs that rise further, by what the foci gave lately.

        A mode for each focus comes last: s(k+1) = left s(k) + gain u(k) from sample to sample.

        Parameters
        ----------
        rise : (p, n_foci) of the outputs [K/W of s].  gain : (n_foci,).
        """
        n, more = len(gain), copy(self)
        more.rate = np.append(self.rate, np.full(n, left ** self._samples)).astype(np.complex64)
        grown = gain * sum(left ** k for k in range(self._samples))
        more.input = np.vstack([self.input, np.diag(grown)]).astype(np.complex64)
        more._pair = np.append(self._pair, np.zeros(n, dtype=bool))
        more._real = np.hstack([self._real, rise.astype(np.float32)])
        return more

    def outputs(self, states: np.ndarray) -> np.ndarray:
        """(p, n) outputs [K] of modal states (., n)."""
        return self._real @ states.real - self._imaginary @ states.imag[self._pair]

    def heated(self, rows: np.ndarray, decay: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """(n, m) outputs `rows` (n,) [K/W] of inputs (., m), each row after a decay (., n)."""
        weights = self._real[rows].astype(np.complex64)
        weights[:, self._pair] += 1j * self._imaginary[rows]
        return ((weights * decay.T) @ inputs).real

    def simulate(self, start: np.ndarray, power: np.ndarray) -> np.ndarray:
        """Modal states (., N) at the ends of blocks of power (N, n_foci)."""
        states = self.input @ power.astype(np.float32).T + NORMAL
        now = start
        for i in range(states.shape[1]):
            now = self.rate * now + states[:, i]
            states[:, i] = now
        return states

    def adjoint(self, sensitivity: np.ndarray) -> np.ndarray:
        """Derivative (N, n_foci) of what has derivatives (p, N) with respect to the outputs."""
        costate = (self._real.T @ sensitivity).astype(np.complex64)
        costate[self._pair] -= 1j * (self._imaginary.T @ sensitivity)
        costate += NORMAL
        rate, now = self.rate.conj(), np.zeros(len(self.rate), dtype=np.complex64)
        for i in range(costate.shape[1] - 1, -1, -1):
            now = rate * now + costate[:, i]
            costate[:, i] = now
        return (self.input.real.T @ costate.real + self.input.imag.T @ costate.imag).T

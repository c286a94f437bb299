"""The reduced model from one sample to the next, with the power constant between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hifuflow.artifacts import Outputs, ReducedModel


@dataclass
class DiscreteModel:
    """x(k+1) = A x(k) + B u(k), temperatures = baseline + C x.

    A = exp(h A_c) and B = int_0^h exp(s A_c) ds B_c, exact for power held over the sample h.

    Attributes
    ----------
    A : (r, r).  B : (r, n_foci) [1/W].  C : (p, r) [K].
    interval : h [s].  outputs, foci : as in `ReducedModel`.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    interval: float
    outputs: Outputs
    foci: np.ndarray

    @classmethod
    def sampled(cls, rom: ReducedModel, interval: float) -> DiscreteModel:
        """Zero-order-hold discretisation by one matrix exponential of [[A, B], [0, 0]]."""
        r, inputs = rom.B.shape
        block = np.zeros((r + inputs, r + inputs))
        block[:r, :r], block[:r, r:] = rom.A * interval, rom.B * interval
        exponential = la.expm(block)
        return cls(np.ascontiguousarray(exponential[:r, :r]),
                   np.ascontiguousarray(exponential[:r, r:]), rom.C, interval, rom.outputs,
                   rom.foci)

    @property
    def constraint_rows(self) -> np.ndarray:
        """(n_c, r) rows of C at the constraint points."""
        return self.C[self.outputs.constraint]

    @property
    def target_rows(self) -> np.ndarray:
        """(n_v, r) rows of C at the target voxels."""
        return self.C[self.outputs.target]

"""Balanced truncation of a stable model, with Gramian factors by SLICOT."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import run_isolated
from hifuflow.job import log

from .checks import check_order
from .slicot import observability_factor, reachability_factor
from .stability import check_stable
from .stiff import stiff_factor, too_stiff

EPS = np.finfo(float).eps


@dataclass
class Balanced:
    """A truncated balanced realization x' = A x + B u, y = C x.

    Attributes
    ----------
    A : (r, r) [1/s].  B : (r, m).  C : (p, r).
    hsv : (k,) Hankel singular values, descending; the first r are those of A, B, C themselves.
    T : (k, r) states of the model that was balanced = T times the states of this one.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    hsv: np.ndarray
    T: np.ndarray | None = None


def minimal_order(hsv: np.ndarray) -> int:
    """Number of Hankel values above k eps times the first, k = len(hsv), eps = 2^-53.

    The order of a numerically minimal realization, as SLICOT defines it: smaller values cannot be
    told from rounding.
    """
    return int(np.count_nonzero(hsv > rounding_level(hsv)))


def rounding_level(hsv: np.ndarray) -> float:
    """k eps hsv[0]: Hankel values of a model with k states below this are rounding errors."""
    return len(hsv) * np.finfo(float).epsneg * float(hsv[0])


def reachability(a, inputs) -> np.ndarray:
    """(k, k) factor S of the Gramian P = S S' of x' = A x + B u, A in real Schur form.

    By SLICOT in a separate process (`slicot.reachability_factor`). B is rescaled to a size near 1,
    which keeps SLICOT's scaling factor away from overflow and underflow. Where rates are so far
    apart that SLICOT would take the slow ones for zero, `stiff.stiff_factor` is used.

    Raises
    ------
    InputError : B is zero.  NumericalError : SLICOT failed.
    """
    if inputs.shape[1] > len(a):
        # The Gramian depends on B B' only: a triangular factor replaces all inputs.
        inputs = la.qr(inputs.T, mode="r")[0][: len(a)].T
    unit = np.abs(inputs).max()
    if not unit > 0:
        raise InputError("no input reaches any state", key="B")
    if too_stiff(a):
        return unit * stiff_factor(a, inputs / unit)
    return unit * run_isolated(reachability_factor, a, inputs / unit)


def observability(a, outputs) -> np.ndarray:
    """(k, k) factor R of the Gramian Q = R' R of x' = A x, y = C x, C (p, k); see `reachability`.

    Raises
    ------
    InputError : C is zero.  NumericalError : SLICOT failed.
    """
    if len(outputs) > len(a):
        # The Gramian depends on C'C only: a triangular factor replaces all outputs.
        outputs = la.qr(outputs, mode="r")[0][: len(a)]
    unit = np.abs(outputs).max()
    if not unit > 0:
        raise InputError("no output depends on any state", key="C")
    if too_stiff(a):  # the same with time reversed: the transpose, its states in reverse order
        return unit * stiff_factor(a.T[::-1, ::-1], outputs[:, ::-1].T / unit)[::-1, ::-1].T
    return unit * run_isolated(observability_factor, a, outputs / unit)


def balanced_truncation(a, inputs, outputs, order="auto", file=None, factors=None,
                        faint: bool = False) -> Balanced:
    """Truncate x' = A x + B u, y = C x, by the square-root method.

    With the Gramians' factors P = S S' and Q = R' R, and R S = U diag(hsv) W',

        T = S W diag(hsv)^(-1/2),   T^-1 = diag(hsv)^(-1/2) U' R,

    and the truncated model is T^-1 A T, T^-1 B, C T with the leading columns of U and W.

    Parameters
    ----------
    a : (k, k) stable A; an upper triangular one saves the Schur decomposition.
    inputs : (k, m) B.  outputs : (p, k) C.
    order : number of states, or "auto" for the numerically minimal realization.
    file : where the order was set, for the messages.
    factors : (S, R) where they are known already, for an A that needs no Schur decomposition.
    faint : accept a model whose Hankel values are all within rounding of zero, because states are
        hardly coupled. The caller must then compare the transfer function with the model's.

    Raises
    ------
    InputError : the order is not a whole number from 1 to the numerically minimal order, or no
        input reaches an output.
    NumericalError : the model is not finite or not stable, or SLICOT failed.

    Source: M. S. Tombs, I. Postlethwaite, "Truncated balanced realization of a stable
    non-minimal state-space system", Int. J. Control 46 (1987) 1319-1330, as in SLICOT AB09AX.
    """
    check_order(order, file)
    if not all(np.isfinite(part).all() for part in (a, inputs, outputs)):
        raise NumericalError("the model to balance holds values that are not finite")
    basis = None
    if np.tril(a, -1).any():
        before_schur = a
        a, basis = la.schur(a)
        inputs, outputs = basis.T @ inputs, outputs @ basis
        check_stable(before_schur, np.diag(a))
    else:
        check_stable(a)
    log.info("balancing %d states, %d inputs, %d outputs...", len(a), inputs.shape[1],
             len(outputs))
    reach, see = factors or (reachability(a, inputs), observability(a, outputs))
    left, hsv, right = np.linalg.svd(see @ reach)
    least = 0.0 if faint else len(a) * EPS * np.linalg.norm(see) * np.linalg.norm(reach)
    if not hsv[0] > least:
        raise no_path()
    available = minimal_order(hsv)
    check_available(order, available, file)
    kept = available if order == "auto" else order
    root = np.sqrt(hsv[:kept])
    left_projection = (left[:, :kept] / root).T @ see
    right_projection = reach @ (right[:kept].T / root)
    return Balanced(left_projection @ a @ right_projection, left_projection @ inputs,
                    outputs @ right_projection, hsv,
                    right_projection if basis is None else basis @ right_projection)


def check_available(order, available: int, file=None) -> None:
    """Refuse an order above the numerically minimal one, `available`."""
    if order != "auto" and order > available:
        raise InputError(f"only {available} states can be told from rounding in this model",
                         file=file, key="reduction.order", value=order,
                         allowed=f"auto or 1 to {available}")


def no_path() -> InputError:
    """The error for a model whose transfer function is zero."""
    return InputError("no input reaches an output: C (s E - A)^-1 B cannot be told from zero, "
                      "there is nothing to reduce", key="A, B, C")

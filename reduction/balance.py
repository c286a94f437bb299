"""Balanced truncation of a stable model from SLICOT's factors of its Gramians."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import run_isolated
from hifuflow.job import log

from .checks import check_order
from .slicot import observability_factor, reachability_factor


@dataclass
class Balanced:
    """A truncated balanced realization x' = A x + B u, y = C x.

    Attributes
    ----------
    A : (r, r) [1/s].  B : (r, m).  C : (p, r).
    hsv : (k,) Hankel singular values, descending; the first r are those of A, B, C themselves.
    T : (k, r) from its states to those of the model that was balanced.
    """

    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    hsv: np.ndarray
    T: np.ndarray | None = None


def minimal_order(hsv: np.ndarray) -> int:
    """Number of Hankel values above k eps times the first, k = len(hsv), eps = 2^-53.

    The order of a numerically minimal realization, as SLICOT defines it: what lies below
    cannot be told from rounding.
    """
    return int(np.count_nonzero(hsv > rounding_level(hsv)))


def rounding_level(hsv: np.ndarray) -> float:
    """k eps hsv[0]: below it, Hankel values of a model with k states are rounding."""
    return len(hsv) * np.finfo(float).epsneg * float(hsv[0])


def balanced_truncation(a, inputs, outputs, order="auto", file=None, threads: int = 1) -> Balanced:
    """Truncate x' = A x + B u, y = C x, by the square-root method.

    With the Gramians' factors P = S S' and Q = R' R, and R S = U diag(hsv) W',

        T = S W diag(hsv)^(-1/2),   T^-1 = diag(hsv)^(-1/2) U' R,

    and the truncated model is T^-1 A T, T^-1 B, C T with the leading columns of U and W.

    Parameters
    ----------
    a : (k, k) stable A; diagonal and quasi-triangular matrices save the Schur decomposition.
    inputs : (k, m) B.  outputs : (p, k) C.
    order : number of states, or "auto" for the numerically minimal realization.
    file : where the order was set, for the messages.
    threads : with more than one, both Gramians' factors are computed at the same time.

    Raises
    ------
    InputError : the order is not a whole number from 1 to the numerically minimal order.
    NumericalError : not finite or not stable, or SLICOT failed.

    Source: M. S. Tombs, I. Postlethwaite, "Truncated balanced realization of a stable
    non-minimal state-space system", Int. J. Control 46 (1987) 1319-1330, as in SLICOT AB09AX.
    """
    check_order(order, file)
    if not all(np.isfinite(part).all() for part in (a, inputs, outputs)):
        raise NumericalError("the model to balance holds values that are not finite")
    basis = None
    if np.tril(a, -1).any():
        a, basis = la.schur(a)
        inputs, outputs = basis.T @ inputs, outputs @ basis
    check_stable(a)
    states = len(a)
    seen = outputs
    if len(seen) > states:
        # Only C'C counts in the observability Gramian, so a triangle stands for all outputs.
        seen = la.qr(seen, mode="r")[0][:states]
    # Rescaled to a size near 1: SLICOT's scaled Lyapunov solver stays away from its limits.
    unit_b, unit_c = np.abs(inputs).max(), np.abs(seen).max()
    if not (unit_b > 0 and unit_c > 0):
        raise InputError("no input reaches any output", key="B" if unit_b == 0 else "C")
    log.info("balancing %d states, %d inputs, %d outputs...", states, inputs.shape[1],
             len(outputs))
    with ThreadPoolExecutor(min(threads, 2)) as pool:
        reach = pool.submit(run_isolated, reachability_factor, a, inputs / unit_b)
        see = pool.submit(run_isolated, observability_factor, a, seen / unit_c)
        reach, see = reach.result(), see.result()
    left, hsv, right = np.linalg.svd(see @ reach)
    available = minimal_order(hsv)
    if order != "auto" and order > available:
        raise InputError(f"only {available} states can be told from rounding in this model",
                         file=file, key="reduction.order", value=order,
                         allowed=f"auto or 1 to {available}")
    kept = available if order == "auto" else order
    root = np.sqrt(hsv[:kept])
    into = (left[:, :kept] / root).T @ see
    out = reach @ (right[:kept].T / root)
    # Half of the rescaling goes to each side, so that both Gramians stay diag(hsv).
    size = np.sqrt(unit_b * unit_c)
    t = out * (size / unit_c)
    return Balanced(into @ a @ out, into @ inputs * (size / unit_b), outputs @ t,
                    hsv * unit_b * unit_c, t if basis is None else basis @ t)


def check_stable(schur) -> None:
    """Refuse a quasi-triangular A with an eigenvalue that does not decay."""
    triangular = not np.diag(schur, -1).any()
    rates = np.diag(schur) if triangular else np.linalg.eigvals(schur).real
    if not (rates < 0).all():
        raise NumericalError(f"the model to balance is not stable: {np.sum(rates >= 0)} of "
                             f"{len(rates)} eigenvalues do not decay, the largest is "
                             f"{rates.max():.3e} 1/s")


def truncation_bound(hsv: np.ndarray) -> np.ndarray:
    """(k,) bound 2 (hsv[r] + hsv[r+1] + ...) on the H-infinity error of each order r = 1..k.

    Source: D. F. Enns, "Model reduction with balanced realizations: an error bound and a
    frequency weighted generalization", IEEE Conf. Decision and Control, 1984, 127-132.
    """
    tails = np.cumsum(hsv[::-1])[::-1]
    return 2 * np.append(tails[1:], 0.0)

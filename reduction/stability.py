"""Stability of a model, beyond what rounding can explain."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from hifuflow.errors import NumericalError

from .scaling import falling

EPS = np.finfo(float).eps


def check_stable(a, rates=None) -> None:
    """Refuse a matrix A with an eigenvalue that does not decay, or may not by rounding.

    Parameters
    ----------
    a : (k, k); triangular if `rates` is None, so that its diagonal has the exact eigenvalues.
    rates : (k,) computed real parts of its eigenvalues. Where one is within rounding of zero,
        relative to the size of A, `decay_beyond_rounding` decides.

    Raises
    ------
    NumericalError : with the number of such eigenvalues and their largest real part.
    """
    if rates is None:
        bad = (rates := np.diag(a)) >= 0
    else:
        bad = rates >= -len(a) * EPS * np.linalg.norm(a)
        if bad.any():
            rates, known = decay_beyond_rounding(a)
            bad = ~known
    if bad.any():
        raise NumericalError(f"the model to balance is not stable: {np.sum(bad)} of {len(rates)} "
                             "eigenvalues do not decay, or not by more than rounding can explain; "
                             f"the largest real part is {rates[bad].max():.3e} 1/s")


def largest_real_part(a) -> float:
    """Largest real part of the eigenvalues of A [1/s]."""
    order = falling(a)
    a = a[np.ix_(order, order)]
    rates = la.eigvals(a).real
    if rates.max() >= -len(a) * EPS * np.linalg.norm(a):
        rates, _ = decay_beyond_rounding(a)
    return float(rates.max())


def decay_beyond_rounding(a) -> tuple[np.ndarray, np.ndarray]:
    """(k,) real parts of the eigenvalues of A [1/s], and (k,) whether each is surely negative.

    With eigenvectors x from the right and y from the left, the eigenvalue is y* A x / y* x, and
    relative changes of k eps in the entries of A move it by at most k eps |y|' |A| |x| / |y* x|.
    Where states of very different speed are hardly coupled, this is far less than k eps ||A||.
    """
    _, left, right = la.eig(a, left=True)
    product = np.einsum("ij,ij->j", left.conj(), right)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.einsum("ij,ij->j", left.conj(), a @ right) / product
        moved = np.einsum("ij,ij->j", np.abs(left), np.abs(a) @ np.abs(right)) / np.abs(product)
    rates = value.real
    return rates, rates < -len(a) * EPS * moved

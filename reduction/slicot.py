"""SLICOT's SB03OD, to be run in a process of its own (`hifuflow.isolated`).

A fault in its Fortran code cannot take the pipeline with it there, its BLAS is pinned to one
thread, and no library whose licence does not go with Slycot's (GPL-2.0) is loaded beside it:
this module imports nothing else but NumPy.
"""

from __future__ import annotations

import warnings

import numpy as np

from hifuflow.errors import NumericalError


def reachability_factor(a, inputs):
    """Triangular factor S of the Gramian P = S S' of a stable model, without forming P.

    A P + P A' = -B B' by Hammarling's method: the factors of both Gramians, and with them the
    Hankel values ||R S||, keep the full precision that Cholesky factors of P and Q would halve.

    Parameters
    ----------
    a : (k, k) in real Schur form.  inputs : (k, m), m <= k.

    Raises
    ------
    NumericalError : SLICOT failed.

    Source: S. J. Hammarling, "Numerical solution of the stable, non-negative definite Lyapunov
    equation", IMA J. Numer. Anal. 2 (1982) 303-323; SLICOT SB03OD.
    """
    return _factor(a, inputs, "T")


def observability_factor(a, outputs):
    """Triangular factor R of the Gramian Q = R' R, A' Q + Q A = -C' C, for (p, k) C, p <= k."""
    if np.triu(a, 1).any():
        return _factor(a, outputs, "N")
    # A diagonal A is its own transpose; the transposed form then runs along columns, in 2/3 of
    # the time.
    return _factor(a, outputs.T, "T").T


def _factor(a, right, trans: str):
    import slycot
    from slycot.exceptions import SlycotError

    added = added_states(len(a))
    k = len(a) + added
    # On the side where the triangle of the states proper stays whole.
    own = slice(added, k) if trans == "T" else slice(0, len(a))
    rates = np.diag(np.full(k, np.diag(a).min()))
    rates[own, own] = a
    columns = right.shape[1 if trans == "T" else 0]
    padded = np.zeros((k, k), order="F")
    if trans == "T":
        padded[own, :columns] = right
    else:
        padded[:columns, own] = right
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "nearly singular": perturbed values were used
            factor, scale, _ = slycot.sb03od(k, columns, rates, np.eye(k), padded, "C", fact="F",
                                             trans=trans)
    except (SlycotError, Warning) as error:
        raise NumericalError(f"SLICOT SB03OD failed on {k} states: {error}") from error
    return np.triu(factor)[own, own] / scale


def added_states(states: int) -> int:
    """Number of states, which nothing reaches, with which SLICOT is faster.

    SLICOT runs along rows of arrays stored by columns. Where columns lie nearly a multiple of
    1 kB apart, a row's entries compete for the same few cache lines: 1280 states took 1.4 to 2
    times as long as 1290.
    """
    line, clear = 1024 // 8, 10
    beyond = (states + clear) % line  # from `clear` before a multiple
    return 2 * clear - beyond if states > line and beyond < 2 * clear else 0

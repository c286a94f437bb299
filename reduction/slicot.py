"""SLICOT's SB03OD, for a separate process (`hifuflow.isolated`).

There a crash of its Fortran code does not end the workflow, its BLAS is pinned to one thread, and
no library whose licence is incompatible with Slycot's (GPL-2.0) is loaded beside it: this module
imports nothing else but NumPy.
"""

from __future__ import annotations

import warnings

import numpy as np

from hifuflow.errors import NumericalError


def reachability_factor(a, inputs):
    """Triangular factor S of the Gramian P = S S' of a stable model, without forming P.

    A P + P A' = -B B' is solved by Hammarling's method: the factors of both Gramians, and so the
    Hankel values (the singular values of R S), keep all digits, where Cholesky factors of P and Q
    would lose half of them.

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
    """Triangular factor R of the Gramian Q = R' R, A' Q + Q A = -C' C, for (p, k) C, p <= k.

    Raises
    ------
    NumericalError : SLICOT failed.
    """
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
    # Place of the model's states among all: where their triangle stays whole.
    proper = slice(added, k) if trans == "T" else slice(0, len(a))
    rates = np.diag(np.full(k, np.diag(a).min()))
    rates[proper, proper] = a
    columns = right.shape[1 if trans == "T" else 0]
    padded = np.zeros((k, k), order="F")
    if trans == "T":
        padded[proper, :columns] = right
    else:
        padded[:columns, proper] = right
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "nearly singular": perturbed values were used
            factor, scale, _ = slycot.sb03od(k, columns, rates, np.eye(k), padded, "C", fact="F",
                                             trans=trans)
    except (SlycotError, Warning) as error:
        raise NumericalError(f"SLICOT SB03OD failed on {k} states: {error}") from error
    return np.triu(factor)[proper, proper] / scale


def added_states(states: int) -> int:
    """Number of unreachable states to add so that SLICOT runs faster.

    SLICOT runs along rows of arrays that are stored by columns. Where columns lie nearly a
    multiple of 1 kB apart, the entries of a row compete for the same few cache lines: 1280 states
    took 1.4 to 2 times as long as 1290.
    """
    line, clear = 1024 // 8, 10
    beyond = (states + clear) % line  # from `clear` before a multiple
    return 2 * clear - beyond if states > line and beyond < 2 * clear else 0

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
    a : (k, k) in real Schur form.  inputs : (k, m).

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

    k = len(a)
    columns = right.shape[1 if trans == "T" else 0]
    padded = np.zeros((k, max(k, columns)) if trans == "T" else (max(k, columns), k), order="F")
    padded[: right.shape[0], : right.shape[1]] = right
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "nearly singular": perturbed values were used
            factor, scale, _ = slycot.sb03od(k, columns, a, np.eye(k), padded, "C", fact="F",
                                             trans=trans)
    except (SlycotError, Warning) as error:
        raise NumericalError(f"SLICOT SB03OD failed on {k} states: {error}") from error
    return np.triu(factor[:k, :k]) / scale

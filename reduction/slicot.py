"""SLICOT's SB03OD, to be run in a process of its own (`hifuflow.isolated`).

A fault in its Fortran code cannot take the pipeline with it there, its BLAS is pinned to one
thread, and no library whose licence does not go with Slycot's (GPL-2.0) is loaded beside it:
this module imports nothing else but NumPy.
"""

from __future__ import annotations

import warnings

import numpy as np

from hifuflow.errors import NumericalError


def gramian_factors(a, inputs, outputs):
    """Triangular factors S and R of the two Gramians of a stable model, without forming them.

    A P + P A' = -B B' with P = S S', and A' Q + Q A = -C' C with Q = R' R, by Hammarling's
    method: the factors, and with them the Hankel values ||R S||, keep the full precision that
    Cholesky factors of P and Q would halve.

    Parameters
    ----------
    a : (k, k) in real Schur form.  inputs : (k, m).  outputs : (p, k), p <= k.

    Returns
    -------
    S (k, k), R (k, k).

    Raises
    ------
    NumericalError : SLICOT failed.

    Source: S. J. Hammarling, "Numerical solution of the stable, non-negative definite Lyapunov
    equation", IMA J. Numer. Anal. 2 (1982) 303-323; SLICOT SB03OD.
    """
    if np.triu(a, 1).any():
        return _factor(a, inputs, "T"), _factor(a, outputs, "N")
    # A diagonal A is its own transpose; the transposed form then runs along columns, in 2/3 of
    # the time.
    return _factor(a, inputs, "T"), _factor(a, outputs.T, "T").T


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

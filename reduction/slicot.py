"""SLICOT's AB09AX, to be run in a process of its own (`hifuflow.isolated`).

A fault in its Fortran code cannot take the pipeline with it there, its BLAS is pinned to one
thread, and no library whose licence does not go with Slycot's (GPL-2.0) is loaded beside it:
this module imports nothing else.
"""

from __future__ import annotations

import warnings

from hifuflow.errors import NumericalError


def ab09ax(a, inputs, outputs, order: int | None):
    """Balanced truncation x' = A x + B u, y = C x -> (order, A, B, hsv, T).

    Parameters
    ----------
    a : (k, k) in real Schur form.  inputs : (k, m).  outputs : (p, k).
    order : number of states, None for the numerically minimal realization.

    Returns
    -------
    order found, truncated A and B, the Hankel singular values, and the truncation T (k, order).

    Raises
    ------
    NumericalError : SLICOT failed.
    """
    import slycot
    from slycot.exceptions import SlycotError, SlycotResultWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SlycotResultWarning)  # the caller checks the order
            # job "B" (balancing): with "N", Slycot 0.7.1 writes beyond its work space.
            found, a, b, _, hsv, t, _ = slycot.ab09ax(
                "C", "B", len(a), inputs.shape[1], len(outputs), a, inputs, outputs, nr=order)
    except SlycotError as error:
        raise NumericalError(f"SLICOT AB09AX failed on {len(inputs)} states: {error}") from error
    return int(found), a[:found, :found], b[:found], hsv, t[:, :found]

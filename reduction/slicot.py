"""SLICOT's AB09AX in a process of its own.

A fault in its Fortran code cannot take the pipeline with it there, its BLAS is pinned to one
thread, and no library whose licence does not go with Slycot's (GPL-2.0) is loaded beside it.

`python -m reduction.slicot IN.npz OUT.npz` is the process; `balance` is how it is called.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hifuflow.errors import NumericalError

ROOT = Path(__file__).resolve().parent.parent


def balance(a, inputs, outputs, order: int | None):
    """Balanced truncation x' = A x + B u, y = C x -> (order, A, B, hsv, T) of AB09AX.

    Parameters
    ----------
    a : (k, k) in real Schur form.  inputs : (k, m).  outputs : (p, k).
    order : number of states, None for the numerically minimal realization.

    Returns
    -------
    order found, truncated A and B, the Hankel singular values, and the truncation T (k, order).

    Raises
    ------
    NumericalError : SLICOT failed, or its process ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "given.npz", Path(folder) / "result.npz"
        np.savez(given, a=a, inputs=inputs, outputs=outputs, order=0 if order is None else order)
        one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        done = subprocess.run(
            [sys.executable, "-m", "reduction.slicot", str(given), str(result)],
            env={**os.environ, **one_thread, "PYTHONPATH": path}, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"its process ended ({done.returncode})"]
            raise NumericalError(f"SLICOT AB09AX failed on {len(a)} states: {lines[-1]}")
        with np.load(result) as found:
            return (int(found["order"]), *(found[name] for name in ("a", "b", "hsv", "t")))


def _main(given, result) -> None:
    import warnings

    import slycot
    from slycot.exceptions import SlycotResultWarning

    with np.load(given) as model:
        a, inputs, outputs = model["a"], model["inputs"], model["outputs"]
        order = int(model["order"]) or None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SlycotResultWarning)  # the caller checks the order
        # job "B" (balancing): with "N", Slycot 0.7.1 writes beyond its work space.
        found, a, b, _, hsv, t, _ = slycot.ab09ax(
            "C", "B", len(a), inputs.shape[1], len(outputs), a, inputs, outputs, nr=order)
    np.savez(result, order=found, a=a[:found, :found], b=b[:found], hsv=hsv, t=t[:, :found])


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Choice of the solver of systems with a K + b E."""

from __future__ import annotations

from hifuflow.job import log
from hifuflow.numerics.cholesky import ShiftedSolver

from .checks import factor_bytes, free_memory
from .multigrid import MultigridSolver


def shifted_solver(capacity, stiffness, kind: str) -> ShiftedSolver | MultigridSolver:
    """Solver of shifted systems a K + b E: `ShiftedSolver` or `MultigridSolver`.

    Parameters
    ----------
    capacity, stiffness : (n, n) sparse E and K.
    kind : "direct", "iterative", or "auto": direct if the estimated factor fits in half of the
        free memory. At 100,000 unknowns one shift took 6 CPU seconds by factors and 12 to 28 by
        iteration.
    """
    n = capacity.shape[0]
    if kind == "auto":
        kind = "direct" if 2 * factor_bytes(n) < free_memory() else "iterative"
        log.info("%d unknowns: %s solves, a factor is estimated at %.2g GB", n, kind,
                 factor_bytes(n) / 1e9)
    return (ShiftedSolver if kind == "direct" else MultigridSolver)(capacity, stiffness)

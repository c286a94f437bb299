"""Undershoot: temperatures below those before treatment, where elements are too coarse for a focus.

Heat is only added, so nothing gets colder than it was. Where the heated spot is smaller than a
cell, quadratic shape functions fall below zero beside it. On meshes of the reference breast of
4,000 to 66,000 cells the undershoot after one shot fell as the number of cells to the power -0.8.
"""

from __future__ import annotations

import math

SAID = 0.5  # undershoot above which there is a warning [K]
REFUSED = 3.0  # undershoot above which the treatment is refused [K]
EXPONENT = 0.8  # of the number of cells, with which the undershoot falls


def cells_for(undershoot: float, n_cells: int) -> int:
    """Number of cells, to two digits, with which an undershoot [K] would be `SAID` at most."""
    wanted = n_cells * (undershoot / SAID) ** (1 / EXPONENT)
    step = 10 ** (math.floor(math.log10(wanted)) - 1)
    return int(math.ceil(wanted / step) * step)

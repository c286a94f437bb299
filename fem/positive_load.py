"""Heating loads whose heating rates are nowhere negative.

A focus is often narrower than a cell. The heating rates r of E r = b, the projection of the
absorbed power onto quadratic elements, then oscillate: beside the focus they fall below zero by
10 % of the peak, and tissue would cool there while it is heated. They are replaced by

    r+ = max(r, 0) (s + g . (x - c) / sqrt(a^2 + |x - c|^2)),   b+ = E r+,

where the number s and the vector g keep the power and the centroid c of b, and a is the median
distance of the absorbed power from c. True heating rates are not negative either, so the part that
is cut off was an error. It makes up about 1 % of the power, and elsewhere r+ is smaller than r by
as much. Where a focus has so few cells that no such g keeps the rates positive, g = 0: the power is
kept, and the centroid moves by a fraction of a cell.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hifuflow.job import log
from hifuflow.numerics.cholesky import ShiftedSolver

AT_ONCE = 16  # foci
SMALLEST_FACTOR = 0.5  # least r+ over max(r, 0); below it g = 0


def positive_load(E: sp.csr_array, load: np.ndarray, position: np.ndarray) -> np.ndarray:
    """(n, n_foci) load [W per W] whose heating rates E^-1 load are not negative.

    Parameters
    ----------
    E : (n, n) heat capacity matrix [J/K].  load : (n, n_foci) [W per W].
    position : (n, 3) of the unknowns [m].
    """
    solver = ShiftedSolver(E, sp.csr_array(E.shape)).factor(0.0, 1.0)
    result, smallest, moved = np.empty_like(load), np.inf, 0.0
    for start in range(0, load.shape[1], AT_ONCE):
        rates = np.maximum(solver.solve(load[:, start:start + AT_ONCE]), 0.0)
        for focus, rate in enumerate(rates.T, start):
            before = load[:, focus]
            factor = _factor(E, rate, before, position)
            result[:, focus] = E @ (rate * factor)
            shift = position.T @ (result[:, focus] - before) / before.sum()
            smallest = min(smallest, factor[rate > 0].min())
            moved = max(moved, float(np.linalg.norm(shift)))
    log.info("negative heating rates beside the foci cut off, the others times %.3f and more; "
             "centroids moved by %.2f mm at most", smallest, 1e3 * moved)
    return result


def _factor(E, rate, load, position) -> np.ndarray:
    """(n,) factor of one focus's rates max(r, 0) [K/s per W]: s + g . (x - c) / sqrt(...)."""
    offset = position - load @ position / load.sum()
    distance = np.linalg.norm(offset, axis=1)
    order = np.argsort(distance)
    heat = np.maximum.accumulate(np.cumsum((E @ rate)[order]))
    width = distance[order[np.searchsorted(heat, heat[-1] / 2)]]
    bounded = offset / np.hypot(width, distance)[:, None]
    shape = np.column_stack([np.ones(len(load)), bounded])
    moments = (E @ np.column_stack([np.ones(len(load)), offset / width])).T \
        @ (rate[:, None] * shape)
    wanted = np.array([load.sum(), 0.0, 0.0, 0.0])
    factor = shape @ np.linalg.solve(moments, wanted)
    if factor[rate > 0].min() < SMALLEST_FACTOR:
        factor = np.full(len(load), wanted[0] / moments[0, 0])
    return factor

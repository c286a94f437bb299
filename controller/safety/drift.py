"""Whether the images as a whole are too hot or too cold: drift beyond its correction, and jumps.

The rises y of an image are fitted by c + m r, with r what the model alone predicts from the powers
and the gains learned: c is the images' error, m that of the heating in all. A measurement has the
variance R + (DOUBT r)^2, so that c is taken from where little is heated: the points far from the
foci are the unheated reference. What is further off than `ROBUST` standard deviations counts less
(Huber). c is found too large when its mean over `AVERAGED` images exceeds

    max(highest allowed, SIGNIFICANT standard deviations / sqrt(AVERAGED)) + REFERENCE r_c,

with r_c the mean of r, weighted as c is: what the reference itself is heated may be wrong in common
where the tissue conducts or is perfused otherwise. That comes slowly: c must not change by more
than the first part within `SINCE` images either.
"""

from __future__ import annotations

import numpy as np

from hifuflow.controller.estimation.innovation import Innovation
from hifuflow.controller.prediction import DiscreteModel

DOUBT = 0.3
ROBUST, ROUNDS = 1.5, 3
HEATING_DEVIATION = 0.5  # of m, before an image is seen
AVERAGED, SINCE, SIGNIFICANT = 3, 12, 5.0
REFERENCE = 0.2


class DriftCheck:
    """Check of the images' level against what the model alone predicts.

    Parameters
    ----------
    model : of the controller.  rows : (n_m, r) of its state in an image.
    variance : R [K2].  highest : |c| that is allowed [K].
    """

    def __init__(self, model: DiscreteModel, rows: np.ndarray, variance: float, highest: float):
        self._step, self._input = model.A.astype(np.float32), model.B
        self._rows, self._variance, self._highest = rows, variance, highest
        self._state = np.zeros(len(model.A), dtype=np.float32)
        self._levels: list[float] = []

    def fault(self, innovation: Innovation) -> str:
        """What is wrong; also called for images that are missing."""
        heated = self._input @ (innovation.gain * innovation.power)
        self._state = self._step @ self._state + heated.astype(np.float32)
        seen = np.isfinite(innovation.rise)
        if not innovation.taken or np.count_nonzero(seen) < 2:
            return ""
        level, deviation, warmth = common_error(
            innovation.rise[seen], (self._rows @ self._state)[seen], self._variance)
        self._levels = [*self._levels[1 - SINCE:], level]
        if len(self._levels) < AVERAGED:
            return ""
        mean, before = (float(np.mean(part)) for part in (
            self._levels[-AVERAGED:], self._levels[:AVERAGED]))
        known = SIGNIFICANT * deviation / np.sqrt(AVERAGED)
        if (abs(mean) <= max(self._highest, known) + REFERENCE * warmth
                and abs(mean - before) <= max(self._highest, np.sqrt(2) * known)):
            return ""
        return (f"the images drift: {abs(mean):.2g} K too {'hot' if mean > 0 else 'cold'} "
                "where nothing is heated")


def common_error(rise: np.ndarray, predicted: np.ndarray,
                 variance: float) -> tuple[float, float, float]:
    """c, its standard deviation, and r_c [K]; see the top of this file.

    Parameters
    ----------
    rise, predicted : (n,) y and r [K].  variance : R [K2].
    """
    terms = np.stack([np.ones(len(rise)), predicted]).astype(float)
    usual = np.diag([0.0, HEATING_DEVIATION ** -2])
    scale = np.sqrt(variance + (DOUBT * predicted) ** 2)
    weight = 1 / scale ** 2
    for _ in range(ROUNDS):
        information = (terms * weight) @ terms.T + usual
        solution = np.linalg.solve(information, (terms * weight) @ rise + usual @ [0.0, 1.0])
        off = np.abs(rise - solution @ terms) / scale
        weight = np.minimum(1.0, ROBUST / np.maximum(off, 1e-9)) / scale ** 2
    return (float(solution[0]), float(np.sqrt(np.linalg.inv(information)[0, 0])),
            float(weight @ np.abs(predicted) / weight.sum()))

"""Whether the images show the heat that was sent, no more and no less, and nowhere else.

With i the innovation of an image, d = H B diag(g) u what the sample's power u should have brought
to it, s what the spreading of earlier heat should, and R the variance of a voxel:

- with power: x = 1 + d'i / d'd, the share of the heat that has come, by the gains of `LAG` images
  ago: those of now may have learned what is wrong. Sequential tests (`cusum`) of 1 against `LOST`
  and against `TOO_MUCH`.
- with the power off, after a power with the heat d: x = d'i / d'd, 0 against `STUCK`.
- for each focus j, with h its heating less its part along d: p = h'i / (h'h sum u), the share of
  the power that heats there instead, 0 against `ELSEWHERE`. Foci whose heating is mostly along d
  are left out: what is heated there cannot be told from d.

The variance of x is INFLATION R / d'd for noise and state, the largest of the gains g since, and
`DOUBT` squared of each part of the prediction: of d itself, and of s along it. So where earlier
heat changes an image by more than the new heat does, less is concluded. An image that follows one
that was not taken in is left out: it shows the heat of several samples.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from hifuflow.controller.estimation.innovation import Innovation

from .cusum import ChangeTest

LOST, TOO_MUCH, STUCK, ELSEWHERE = 0.3, 1.8, 0.8, 0.8
DOUBT = 0.2
INFLATION = 1.5
LAG = 5  # images with power
DISTINCT = 0.5  # least part of a focus's squared heating that is not along d


class ResponseCheck:
    """Check of the images against commanded heat.

    Parameters
    ----------
    heating : (n_m, n_foci) H B, what a watt at each focus brings to an image [K/W].
    variance : R [K2].
    """

    def __init__(self, heating: np.ndarray, variance: float):
        self._heating, self._variance = heating, INFLATION * variance
        n = heating.shape[1]
        self._lost, self._more = ChangeTest(1.0, LOST), ChangeTest(1.0, TOO_MUCH)
        self._stuck = ChangeTest(0.0, STUCK)
        self._elsewhere = ChangeTest(0.0, ELSEWHERE, n)
        self._last, self._watts = np.zeros(len(heating)), 0.0  # heat of the last power
        self._gains: deque[tuple] = deque(maxlen=LAG)  # (n_foci,) and the deviation of their mean
        self._followed = True

    def fault(self, innovation: Innovation) -> str:
        """What is wrong, as an image shows that was taken in; "" if nothing is."""
        fresh = self._followed and innovation.taken
        self._followed = innovation.taken
        on = innovation.power.any()
        if on:
            self._last, self._watts = innovation.heat, float(innovation.power.sum())
            self._gains.append((innovation.gain, innovation.gain_deviation))
        if not fresh or not self._watts:
            return ""
        seen = np.isfinite(innovation.value)
        value, heat = np.where(seen, innovation.value, 0.0), np.where(seen, self._last, 0.0)
        spread = np.where(seen, innovation.spread, 0.0)
        square = heat @ heat
        if square <= 0:
            return ""
        share = float(heat @ value / square)
        variance = self._variance / square + (DOUBT * float(heat @ spread) / square) ** 2
        fault = self._with_power(innovation, share, variance) if on else (
            self._without_power(share, variance))
        return fault or self._other_places(seen, value, spread, heat if on else 0.0 * heat)

    def _with_power(self, innovation: Innovation, share: float, variance: float) -> str:
        before, power = self._gains[0][0], innovation.power
        deviation = max(one for _, one in self._gains) * self._watts / (power @ before)
        since = power @ innovation.gain / (power @ before)
        answer = (1 + share) * since
        variance = variance * since ** 2 + DOUBT ** 2 + deviation ** 2
        lost, more = (test.add(answer, variance) for test in (self._lost, self._more))
        sent = f"where {self._watts:.3g} W were sent"
        if lost:
            return (f"the images show no heat {sent}" if answer < LOST else
                    f"the images show {answer:.0%} of the heat {sent}")
        return f"the images show {answer:.1f} times the heat {sent}" if more else ""

    def _without_power(self, share: float, variance: float) -> str:
        return ("the images show heat without command"
                if self._stuck.add(share, variance + (DOUBT * STUCK) ** 2) else "")

    def _other_places(self, seen, value, spread, heat) -> str:
        rows = np.where(seen[:, None], self._heating, 0.0)
        whole, square = np.einsum("ij,ij->j", rows, rows), heat @ heat
        along = heat @ rows
        if square > 0:
            rows = rows - np.outer(heat, along / square)
        own = np.einsum("ij,ij->j", rows, rows)
        usable = (own > DISTINCT * whole) & (own > 0)
        scale = np.where(usable, own, 1.0) * self._watts
        share = np.where(usable, value @ rows / scale, 0.0)
        variance = (self._variance * own + (DOUBT * (spread @ rows)) ** 2
                    + DOUBT ** 2 * square * own) / scale ** 2 + (DOUBT * ELSEWHERE) ** 2
        if self._elsewhere.add(share, variance):
            return ("the images show heat at another place than commanded" if square > 0 else
                    "the images show heat without command")
        return ""

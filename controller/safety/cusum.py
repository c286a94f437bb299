"""Sequential tests for a change of a mean: cumulative sums of log-likelihood ratios.

    S(k) = max(0, S(k-1) + ((x(k) - a)^2 - (x(k) - b)^2) / (2 v(k)))

for a mean a that should be there and b that it might change to (Page, Biometrika 41, 1954, 100).
Where x is normal with the variance v, the mean number of samples to a false alarm at S > h is at
least exp(h) (Lorden, Annals of Mathematical Statistics 42, 1971, 1897).
"""

from __future__ import annotations

import numpy as np

ALARM = 20.0  # h: some 5e8 images from one false alarm to the next
MOST = 0.6 * ALARM  # that one image may add: no single one raises an alarm


class ChangeTest:
    """Sequential test of a mean, or of n means at once, against a change in one direction.

    Parameters
    ----------
    usual, changed : a and b.  size : n.
    """

    def __init__(self, usual: float, changed: float, size: int = 1):
        self._usual, self._changed = usual, changed
        self.sum = np.zeros(size)

    def add(self, value, variance) -> bool:
        """Take in x (n,) with the variances v (n,); whether any mean has changed."""
        ratio = ((value - self._usual) ** 2 - (value - self._changed) ** 2) / (2 * variance)
        self.sum = np.maximum(self.sum + np.minimum(ratio, MOST), 0.0)
        return bool((self.sum > ALARM).any())

"""Hankel singular values and the error of a truncated model."""

from __future__ import annotations

import numpy as np


def truncation_bound(hsv: np.ndarray) -> np.ndarray:
    """(k,) bound 2 (hsv[r] + hsv[r+1] + ...) on the H-infinity error of each order r = 1..k.

    Source: D. F. Enns, "Model reduction with balanced realizations: an error bound and a
    frequency weighted generalization", IEEE Conf. Decision and Control, 1984, 127-132.
    """
    # Summed from the smallest: as a difference of sums, a small tail would be lost in rounding.
    tails = np.cumsum(hsv[::-1])[::-1]
    return 2 * np.append(tails[1:], 0.0)

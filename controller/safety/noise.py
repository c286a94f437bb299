"""Whether the images are noisier than stated.

The noise of an image is taken from its innovations, by the median of their distances from the
median: sigma = 1.4826 median |i - median(i)| (robust against where the model is wrong). Images that
the filter does not believe are not judged: they are withheld anyway. More than `MOST` times what is
stated in `IN_A_ROW` images is a fault. For 50 voxels or more of normal noise that is beyond ten
standard deviations of sigma.
"""

from __future__ import annotations

import numpy as np

from hifuflow.controller.estimation.innovation import Innovation

MOST = 2.5
IN_A_ROW = 2
NORMAL = 1.4826  # standard deviation of a normal distribution, in median absolute deviations


class NoiseCheck:
    """Check of the images' noise.

    Parameters
    ----------
    noise : stated standard deviation [K].  floor : error of a measurement beside it [K].
    """

    def __init__(self, noise: float, floor: float):
        # An image without noise still differs from the model where that is wrong.
        self._stated = max(np.hypot(noise, floor), 5 * floor)
        self._noisy = 0

    def fault(self, innovation: Innovation) -> str:
        """What is wrong; "" if nothing is."""
        seen = innovation.value[np.isfinite(innovation.value)]
        if not innovation.taken or not len(seen):
            return ""
        deviation = NORMAL * float(np.median(np.abs(seen - np.median(seen))))
        self._noisy = self._noisy + 1 if deviation > MOST * self._stated else 0
        if self._noisy < IN_A_ROW:
            return ""
        return (f"the images are noisier than stated: {deviation:.2g} K instead of "
                f"{self._stated:.2g} K")

"""Whether what the filter learns is still what a patient can be: bounds of gains and factors.

The filter explains images that do not fit its model by other gains of the foci and other factors of
points and tissues. Their ranges (`estimator.gain_range`, `heating_range`, `absorption_range`) are
what tissue can differ by; the filter learns nothing beyond. At a bound the model no longer explains
the images, whatever the cause.
"""

from __future__ import annotations

import numpy as np

from hifuflow.controller.estimation.innovation import Innovation

IN_A_ROW = 3  # images
NEAR = 0.1  # relative distance from a bound that counts as being there


class LearnedCheck:
    """Check of the gains, weighted by the power, against their range.

    Parameters
    ----------
    gain_range : (lowest, highest) of a focus.
    """

    def __init__(self, gain_range: tuple[float, float]):
        self._lowest, self._highest = gain_range
        self._at = 0

    def fault(self, innovation: Innovation, gain: np.ndarray) -> str:
        """What is wrong; "" if nothing is.

        Parameters
        ----------
        gain : (n_foci,) after the image was taken in.
        """
        watts = innovation.power.sum()
        if not innovation.taken or not watts:
            return ""
        mean = float(innovation.power @ gain / watts)
        low, high = (mean <= self._lowest * (1 + NEAR), mean >= self._highest * (1 - NEAR))
        self._at = self._at + 1 if low or high else 0
        if self._at < IN_A_ROW:
            return ""
        if low:
            return (f"the images show no heat where {watts:.3g} W were sent: less than "
                    f"{self._lowest:.2g} of what the model says (estimator.gain_range)")
        return (f"the images show more than {self._highest:.2g} times the heat that the model says "
                "(estimator.gain_range)")

"""Simulated MR thermometry."""

from __future__ import annotations

import numpy as np

from .settings import ThermometrySettings


class Thermometry:
    """Temperatures at the output positions, once per interval, with Gaussian noise.

    Each image is drawn from its own generator (seed, number of the image), so it does not depend
    on how many images were taken before. Every image is valid: loss of signal is not simulated.
    """

    def __init__(self, settings: ThermometrySettings):
        self._noise = settings.noise
        self._seed = settings.seed

    def image(self, number: int, temperature: np.ndarray) -> np.ndarray:
        """(p,) measured temperatures [degC] of image `number`.

        Parameters
        ----------
        number : counts the images from 0.
        temperature : (p,) true temperatures at the output positions [degC].
        """
        generator = np.random.default_rng([self._seed, number])
        return temperature + self._noise * generator.standard_normal(len(temperature))

"""Simulated MR thermometry (proton resonance frequency shift), image by image.

    y = W T + drift left by the correction + noise

with W and T as in `controller.imaging`.
"""

from __future__ import annotations

import numpy as np

from hifuflow.controller.imaging import Imaging
from hifuflow.controller.settings import ThermometrySettings


class Thermometry:
    """Simulated scanner: an image of the temperatures at the outputs each interval.

    Each image is drawn from its own generator (seed, number of the image), so it does not depend
    on how many images were taken before.

    Attributes
    ----------
    imaging : what an image shows.
    """

    def __init__(self, settings: ThermometrySettings, imaging: Imaging):
        self._settings, self.imaging = settings, imaging
        self._drift = self._drift_rate()

    def image(self, number: int, temperature: np.ndarray,
              deviation: float | None = None) -> np.ndarray:
        """(n_m,) measured temperatures [degC] of image `number`; NaN throughout if it is lost.

        Parameters
        ----------
        number : counts the images from 0.
        temperature : (p,) true temperatures of the outputs, means over the target's voxels [degC].
        deviation : standard deviation of a voxel's noise, where it is not the usual one [K].
        """
        settings, time = self._settings, number * self._settings.interval
        generator = np.random.default_rng([settings.seed, number])
        noise = generator.standard_normal(self.imaging.averaging.shape[0])
        lost, spoilt = generator.random(2) < (settings.loss_probability,
                                              settings.artefact_probability)
        if lost or any(start <= time <= end for start, end in settings.lost):
            return np.full(len(noise), np.nan)
        usual = settings.noise if deviation is None else deviation
        spread = settings.artefact if spoilt else usual
        return self.imaging.averaging @ temperature + time * self._drift + spread * noise

    def _drift_rate(self) -> np.ndarray:
        """(n_m,) apparent temperature per time [K/s]: the same everywhere, plus a gradient in a
        random direction. The correction takes the mean away, as an unheated reference shows it."""
        settings, position = self._settings, self.imaging.position
        direction = np.random.default_rng(settings.seed).standard_normal(3)
        along = (position - position.mean(axis=0)) @ direction
        shape = settings.drift_variation * along / max(np.abs(along).max(), 1e-12)
        return settings.drift * (shape if settings.drift_correction else 1 + shape)

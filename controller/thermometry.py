"""Simulated MR thermometry (proton resonance frequency shift), image by image.

    y = W T + drift left by the correction + noise

W averages over voxels: a target voxel of the image is made up of the target's voxels whose centres
it holds, and T is the mean over each of those, exactly that of the finite-element function
(`C_mean`). At a constraint point, far from the foci, the temperature is smooth, and the image is
taken as interpolated there. Both the simulated image and the estimator's model of it use W.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from hifuflow.artifacts import Outputs
from hifuflow.errors import InputError

from .settings import ThermometrySettings


class Thermometry:
    """Images of the temperatures at the outputs, one per interval.

    Each image is drawn from its own generator (seed, number of the image), so it does not depend
    on how many images were taken before.

    Attributes
    ----------
    averaging : (n_m, p) CSR, W; regions without a signal have no rows.
    position : (n_m, 3) of the measurements [m].
    limit : (n_m,) of the constraint point that is measured [degC], infinite where it is soft;
        NaN in the target.
    noise : standard deviation of a voxel's noise [K].
    delay : number of intervals by which an image is late.
    """

    def __init__(self, settings: ThermometrySettings, outputs: Outputs):
        self._settings = settings
        self.noise = settings.noise
        self.delay = math.ceil(settings.latency / settings.interval - 1e-9)
        # A region's part in the target is called after it.
        silent = [name + part for name in settings.no_signal_regions for part in ("", "_target")]
        seen = ~np.isin(outputs.region, silent)
        self.averaging = voxel_means(outputs, settings.voxel, seen)
        if not self.averaging.shape[0]:
            raise InputError("leave nothing to be measured", key="thermometry.no_signal_regions",
                             value=settings.no_signal_regions,
                             allowed="regions besides which target or constraint points lie")
        self.position = self.averaging @ outputs.position
        rows = self.averaging @ outputs.constraint > 0
        limit = np.where(outputs.constraint, outputs.hard_limit, 0.0)
        self.limit = np.where(rows, self.averaging @ limit, np.nan)
        self._drift = self._drift_rate()

    def image(self, number: int, temperature: np.ndarray) -> np.ndarray:
        """(n_m,) measured temperatures [degC] of image `number`; NaN throughout if it is lost.

        Parameters
        ----------
        number : counts the images from 0.
        temperature : (p,) true temperatures of the outputs, means over the target's voxels [degC].
        """
        settings, time = self._settings, number * self._settings.interval
        generator = np.random.default_rng([settings.seed, number])
        noise = generator.standard_normal(self.averaging.shape[0])
        lost, spoilt = generator.random(2) < (settings.loss_probability,
                                              settings.artefact_probability)
        if lost or any(start <= time <= end for start, end in settings.lost):
            return np.full(len(noise), np.nan)
        spread = settings.artefact if spoilt else settings.noise
        return self.averaging @ temperature + time * self._drift + spread * noise

    def _drift_rate(self) -> np.ndarray:
        """(n_m,) apparent temperature per time [K/s]: the same everywhere, plus a gradient in a
        random direction. The correction takes the mean away, as an unheated reference shows it."""
        settings = self._settings
        direction = np.random.default_rng(settings.seed).standard_normal(3)
        along = (self.position - self.position.mean(axis=0)) @ direction
        shape = settings.drift_variation * along / max(np.abs(along).max(), 1e-12)
        return settings.drift * (shape if settings.drift_correction else 1 + shape)


def voxel_means(outputs: Outputs, voxel: np.ndarray, seen: np.ndarray) -> sp.csr_array:
    """(n_m, p) constraint points as they are; then the means over the target's outputs in each
    voxel of a grid along the patient's axes, weighted by volume. Only outputs that are `seen`."""
    points = np.flatnonzero(outputs.constraint & seen)
    target = np.flatnonzero(outputs.target & seen)
    cell = np.floor(outputs.position[target] / voxel + 1e-6).astype(int)
    count, number = 0, np.zeros(0, dtype=int)
    if len(target):
        _, number = np.unique(cell, axis=0, return_inverse=True)
        number = number.ravel()
        count = number.max() + 1
    volume = outputs.volume[target]
    weight = volume / np.bincount(number, volume, count)[number] if len(target) else volume
    rows = np.concatenate([np.arange(len(points)), len(points) + number])
    return sp.csr_array((np.concatenate([np.ones(len(points)), weight]),
                         (rows, np.concatenate([points, target]))),
                        shape=(len(points) + count, len(outputs.kind)))

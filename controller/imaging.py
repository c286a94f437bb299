"""MR thermometry of the outputs: y = W T, with W the averaging over voxels.

A target voxel of the image is made up of the target's voxels whose centres it holds, and T is the
mean over each of those, exactly that of the finite-element function (`C_mean`). At a constraint
point, far from the foci, the temperature is smooth, and the image is taken as interpolated there.
Both the simulated scanner and the estimator's model of it use W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.records.outputs import Outputs

from .settings import ThermometrySettings


@dataclass(frozen=True)
class Image:
    """Image of the temperatures, as it is handed over.

    Attributes
    ----------
    acquired : when it was, by the clock of the scanner, since the treatment began [s]; -inf where
        no image has arrived.
    temperature : (n_m,) measured [degC]; NaN throughout where the image is lost.
    """

    acquired: float
    temperature: np.ndarray


class Imaging:
    """Measurement model of the images: where they measure, with which noise and delay.

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
        self.noise = settings.noise
        self.delay = math.ceil(settings.latency / settings.interval - 1e-9)
        # A region's part in the target is called after it.
        silent = [name + part for name in settings.no_signal_regions for part in ("", "_target")]
        seen = ~np.isin(outputs.region, silent)
        self.averaging = image_averages(outputs, settings.voxel, seen)
        if not self.averaging.shape[0]:
            raise InputError("leave nothing to be measured", key="thermometry.no_signal_regions",
                             value=settings.no_signal_regions,
                             allowed="regions besides which target or constraint points lie")
        self.position = self.averaging @ outputs.position
        rows = self.averaging @ outputs.constraint > 0
        limit = np.where(outputs.constraint, outputs.hard_limit, 0.0)
        self.limit = np.where(rows, self.averaging @ limit, np.nan)


def image_averages(outputs: Outputs, voxel: np.ndarray, seen: np.ndarray) -> sp.csr_array:
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

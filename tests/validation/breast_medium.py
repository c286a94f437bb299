"""A random mixture of two tissues that the array focuses into: shared with `kwave_reference.py`.

Water, then a mixture of the fat and tumour of `config/tissues.yaml` whose structures have a chosen
size; all on one grid, so that two methods can be compared on exactly the same medium and beam.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy import ndimage, special

from hifuflow.acoustics.settings import TransducerSettings
from hifuflow.acoustics.source import source_plane
from hifuflow.acoustics.transducer import Transducer
from hifuflow.study.transducer_file import load_device

ROOT = Path(__file__).resolve().parents[2]
FREQUENCY, SPACING = 1e6, 0.5e-3
SHAPE = (96, 96, 84)  # with the absorbing layers around it
LAYER = 10  # cells of absorbing layer on every side
FIRST_PLANE, FOCUS = 0.107, (0.0, 0.0, 0.13)
WATER_PLANES = 8  # behind the source plane
SOFTNESS = 0.35  # width of the change from one tissue to the other, in standard deviations


@dataclass(frozen=True)
class Mixture:
    """Speed [m/s], density [kg/m3] and attenuation [Np/m] on the grid, (nx, ny, nz)."""

    speed: np.ndarray
    density: np.ndarray
    attenuation: np.ndarray


def mixture(structure: float, seed: int = 1) -> Mixture:
    """Structures of a mean chord length of `structure` [m] between softened edges.

    Gaussian noise smoothed with a Gaussian of standard deviation s has chords of 4.44 s in mean
    between its zeros (Rice's formula).
    """
    table = yaml.safe_load((ROOT / "config" / "tissues.yaml").read_text())
    water, fat, tumour = table["water"], table["tissues"]["fat"], table["tissues"]["tumour"]
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    noise = ndimage.gaussian_filter(noise, structure / 4.44 / SPACING, mode="wrap")
    part = special.ndtr(noise / noise.std() / SOFTNESS)
    body = np.zeros(SHAPE)
    body[:, :, LAYER + WATER_PLANES:] = 1

    def values(key):
        tissue = fat[key] + (tumour[key] - fat[key]) * part
        return water[key] + (tissue - water[key]) * body

    return Mixture(values("speed_of_sound_m_s"), values("density_kg_m3"),
                   values("attenuation_np_m_mhz"))


def beam() -> np.ndarray:
    """(nx, ny) pressure of the reference array at 1 W on the source plane, tapered [Pa]."""
    device, _ = load_device({"name": "random256", "failed_elements": []}, ROOT / "none.yaml")
    array = Transducer.of(TransducerSettings.read(device))
    x = SPACING * (np.arange(SHAPE[0]) - SHAPE[0] // 2)
    plane = source_plane(array, [FOCUS], x, x, FIRST_PLANE, 1.0, 1000.0, 1500.0)[0]
    count = SHAPE[0] - 2 * LAYER
    rise = np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.15 * count)
    taper = np.zeros(SHAPE[0])
    taper[LAYER:-LAYER] = 0.5 * (1 - np.cos(np.pi * np.minimum(rise, 1)))
    plane = plane * taper[:, None] * taper
    # Only what propagates, so that both methods start from the same waves.
    k = 2 * np.pi * np.fft.fftfreq(SHAPE[0], SPACING)
    across = k[:, None] ** 2 + k**2
    return np.fft.ifft2(np.fft.fft2(plane) * (across < (2 * np.pi * FREQUENCY / 1500.0) ** 2))

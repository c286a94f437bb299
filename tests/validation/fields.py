"""Ultrasound fields in water against a direct Rayleigh sum and published bowls."""

from __future__ import annotations

import numpy as np
from run import Check, at_most, within

from acoustics.angular_spectrum import HybridAngularSpectrum, Medium
from acoustics.rayleigh import rayleigh_pressure
from acoustics.source import source_plane
from acoustics.transducer import Transducer
from hifuflow.config import load_patient
from hifuflow.provenance import ROOT

DENSITY, SPEED = 1000.0, 1500.0
SPACING, FIRST_PLANE, COUNT = 0.75e-3, 0.1, 160
FOCI = {"unsteered": (0, 0, 0.13), "1 cm sideways": (0.01, 0, 0.13), "1 cm deeper": (0, 0, 0.14)}


def checks() -> list[Check]:
    """Focal pressure and field of the reference array in water."""
    array = Transducer.from_config(load_patient(
        ROOT / "config" / "patients" / "breast_reference.yaml").transducer)
    found = []
    for name, focus in FOCI.items():
        focus = np.array(focus, dtype=float)
        peak, exact_peak, error = _against_rayleigh(array, focus)
        found.append(within(f"focal pressure at 1 W in water, {name} [Pa]", peak, exact_peak, 0.03,
                            "direct Rayleigh sum over the discs"))
        found.append(at_most(f"field error over its peak, {name}", error, 0.01,
                             "direct Rayleigh sum over the discs"))
    return found


def _against_rayleigh(array, focus):
    """(peak, exact peak, largest error over the exact peak) on lines through the focus."""
    x = SPACING * (np.arange(COUNT) - COUNT // 2)
    source = source_plane(array, focus[None], x, x, FIRST_PLANE, 1.0, DENSITY, SPEED)[0]
    shape = (round((focus[2] - FIRST_PLANE) / SPACING) + 12, COUNT, COUNT)
    wavenumber = np.full(shape, array.wavenumber(SPEED), dtype=np.float32)
    lossless = np.zeros(shape, dtype=np.float32)
    impedance = np.full(shape, DENSITY * SPEED, dtype=np.float32)
    water = Medium(wavenumber, impedance, lossless, lossless)
    field = np.array(list(HybridAngularSpectrum(water, [SPACING] * 3, source).planes(source)))
    z = FIRST_PLANE + SPACING * np.arange(len(field))
    jz, jx, jy = (int(np.argmin(np.abs(axis - value)))
                  for axis, value in ((z, focus[2]), (x, focus[0]), (x, focus[1])))
    middle = slice(24, COUNT - 24)
    across = np.stack([x, 0 * x + x[jy], 0 * x + z[jz]], axis=1)[middle]
    along = np.stack([0 * z + x[jx], 0 * z + x[jy], z], axis=1)
    exact = np.abs(rayleigh_pressure(array, focus, np.vstack([across, along]), 1.0, DENSITY,
                                     SPEED, 80))
    computed = np.abs(np.concatenate([field[jz, middle, jy], field[:, jx, jy]]))
    return computed.max(), exact.max(), np.abs(computed - exact).max() / exact.max()

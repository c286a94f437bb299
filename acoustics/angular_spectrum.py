"""Hybrid angular spectrum: steady sound through voxel planes of differing speed and density.

The method of U. Vyas and D. Christensen, "Ultrasound beam simulations in inhomogeneous tissue
geometries using the hybrid angular spectrum method", IEEE Trans. Ultrason. Ferroelectr. Freq.
Control 59(6), 2012. One step of length d from plane to plane, time dependence exp(-i w t):

1. In the spatial-frequency domain every plane wave travels through the layer's mean medium,
   F *= exp(i d sqrt((k0 + i a0)^2 - kx^2 - ky^2)): refraction, obliquity and mean attenuation
   are exact, waves beyond k0 decay.
2. In space each voxel adds what it differs from the mean, along the oblique path s d,
   p *= exp((i (k - k0) - (a - a0)) s d), and transmits t = 2 Z2/(Z1 + Z2) of the pressure into
   the next voxel.

k = w/c, a = attenuation [Np/m], Z = rho c. The mean k0, a0 of a layer is weighted with |p|^2,
and s is the mean of 1/cos(angle) over the beam's spectrum. Both come from one reference beam and
then stay fixed, so that the pressures of different foci superpose exactly. Reflections are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from scipy import fft

EDGE = 0.08  # part of the plane's width, on each side, over which outgoing waves are absorbed
WIDEST_SINE = 0.95  # plane waves flatter than this do not count in the mean obliquity


@dataclass(frozen=True)
class Medium:
    """Acoustic properties on the beam's grid, each (nz, nx, ny) float32, planes along the beam.

    wavenumber : w/c [1/m].  impedance : rho c [Pa s/m].
    attenuation : loss of amplitude by all causes [Np/m].
    absorption : loss of amplitude that turns into heat in the body [Np/m].
    """

    wavenumber: np.ndarray
    impedance: np.ndarray
    attenuation: np.ndarray
    absorption: np.ndarray


class HybridAngularSpectrum:
    """Propagation through one medium, prepared once for all foci.

    Parameters
    ----------
    medium : properties on the grid.
    spacing : (3,) distance between grid points along x, y and the beam [m].
    reference : (nx, ny) pressure on the first plane of the beam that sets the mean media.
    """

    def __init__(self, medium: Medium, spacing, reference: np.ndarray):
        self.medium = medium
        self.spacing = np.asarray(spacing, dtype=float)
        shape = reference.shape
        kx, ky = (2 * pi * fft.fftfreq(n, d) for n, d in zip(shape, self.spacing, strict=False))
        self._transverse = kx[:, None] ** 2 + ky[None, :] ** 2
        self._edge = edge_taper(shape[0])[:, None] * edge_taper(shape[1])[None, :]
        steps = len(medium.wavenumber) - 1
        self._propagators = np.empty((steps, *shape), dtype=np.complex64)
        self._screens = np.empty((steps, *shape), dtype=np.complex64)
        pressure = reference * self._edge.astype(np.float32)
        for j in range(steps):
            self._prepare(j, pressure)
            pressure = self._step(j, pressure)

    def _prepare(self, j: int, pressure: np.ndarray) -> None:
        """Fill in the propagator and the screen of step j for a beam of this pressure."""
        medium, d = self.medium, self.spacing[2]
        k = 0.5 * (medium.wavenumber[j] + medium.wavenumber[j + 1])
        a = 0.5 * (medium.attenuation[j] + medium.attenuation[j + 1])
        weight = (np.abs(pressure) ** 2).astype(float)
        weight /= weight.sum()
        k0, a0 = float((weight * k).sum()), float((weight * a).sum())
        kz = np.sqrt((k0 + 1j * a0) ** 2 - self._transverse)
        self._propagators[j] = np.exp(1j * d * kz)
        stretch = self._obliquity(pressure, k0)
        before, after = medium.impedance[j], medium.impedance[j + 1]
        transmission = 2 * after / (before + after)
        self._screens[j] = self._edge * transmission * np.exp((1j * (k - k0) - (a - a0))
                                                              * (stretch * d))

    def _obliquity(self, pressure: np.ndarray, k0: float) -> float:
        """Mean of 1/cos(angle) over the power of a beam's plane waves."""
        power = np.abs(fft.fft2(pressure)) ** 2
        within = self._transverse < (WIDEST_SINE * k0) ** 2
        secant = 1 / np.sqrt(1 - self._transverse[within] / k0**2)
        return float((power[within] * secant).sum() / power[within].sum())

    def _step(self, j: int, pressure: np.ndarray) -> np.ndarray:
        spectrum = fft.fft2(pressure, overwrite_x=True)
        spectrum *= self._propagators[j]
        pressure = fft.ifft2(spectrum, overwrite_x=True)
        pressure *= self._screens[j]
        return pressure

    def squared_amplitude(self, source: np.ndarray) -> np.ndarray:
        """(nz, nx, ny) float32: |p|^2 of the beam with pressure `source` on the first plane."""
        out = np.empty(self.medium.wavenumber.shape, dtype=np.float32)
        for plane, pressure in enumerate(self.planes(source)):
            out[plane] = pressure.real**2 + pressure.imag**2
        return out

    def power(self, source: np.ndarray) -> float:
        """Acoustic power that enters through the first plane [W]."""
        return plane_power(source * self._edge, float(self.medium.wavenumber[0].mean()),
                           float(self.medium.impedance[0].mean()), self.spacing)

    def planes(self, source: np.ndarray):
        """Complex pressure (nx, ny) on one plane after another."""
        pressure = (source * self._edge).astype(np.complex64)
        yield pressure
        for j in range(len(self._screens)):
            # A copy, as the step works in place and the caller may keep what it was given.
            pressure = self._step(j, pressure.copy())
            yield pressure


def plane_power(pressure: np.ndarray, wavenumber: float, impedance: float, spacing) -> float:
    """Power through a plane of homogeneous fluid, from the plane waves that make up the field.

    W = dx dy/(nx ny) sum |F|^2 Re(kz)/(2 Z k), with kz = sqrt(k^2 - kx^2 - ky^2) [W].
    """
    kx, ky = (2 * pi * fft.fftfreq(n, d) for n, d in zip(pressure.shape, spacing, strict=False))
    cosine = np.sqrt(np.maximum(1 - (kx[:, None] ** 2 + ky[None, :] ** 2) / wavenumber**2, 0))
    flux = (np.abs(fft.fft2(pressure)) ** 2 * cosine).sum() / pressure.size
    return float(flux * spacing[0] * spacing[1] / (2 * impedance))


def edge_taper(count: int) -> np.ndarray:
    """(count,) 1 in the middle, falling as a raised cosine to 0 at the first and last point."""
    width = max(2, round(EDGE * count))
    distance = np.minimum(np.arange(count), np.arange(count)[::-1]) / width
    return 0.5 * (1 - np.cos(pi * np.minimum(distance, 1)))

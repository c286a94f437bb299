"""Hybrid angular spectrum: steady sound through voxel planes of differing speed and density.

After U. Vyas and D. Christensen, "Ultrasound beam simulations in inhomogeneous tissue geometries
using the hybrid angular spectrum method", IEEE Trans. Ultrason. Ferroelectr. Freq. Control 59(6),
2012, with a field that is normalised to its power: F is the spectrum of p/sqrt(2 Z) times the
square root of each plane wave's cosine. So the sum of |F|^2 is the power through the plane, and a
step changes it only by physical losses. One step of length d from plane to plane, with the time
dependence exp(-i w t), k = w/c, a = attenuation [Np/m], Z = rho c:

1. For half the step every plane wave travels through the layer's mean medium,
   F *= exp(i kz d/2), kz = sqrt((k0 + i a0)^2 - kx^2 - ky^2): refraction, obliquity and mean
   attenuation are exact, and waves that the tissue has turned beyond 90 degrees fade.
2. In space each voxel adds its difference from the mean,
   exp(i d (sqrt((k + i a)^2 - q^2) - sqrt((k0 + i a0)^2 - q^2))), for the beam's local obliquity,
   q being its transverse wavenumber: voxels at the rim of a converging beam are crossed at a
   steeper angle, and attenuate more, than those in its middle.
3. The interface to the next voxel transmits 2 sqrt(N1 N2)/(N1 + N2) with N = Z/cos(angle) on
   either side. Between the layers' mean media the angle is that of each plane wave; for the
   voxels' differences from these it is the beam's mean angle.
4. The second half of the step is as in 1.

Density scatters through k^2 = (w/c)^2 - sqrt(rho) laplacian(1/sqrt(rho)), the wavenumber that
p/sqrt(rho) has in a fluid of varying density. For layers normal to the beam this is the exact
solution except for multiple reflections. k0, a0 and q are those of one reference beam and then stay
fixed, so that the fields of different foci and elements superpose exactly.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import pi

import numpy as np
from scipy import fft, ndimage

from .medium import Balance, Medium

EDGE = 0.08  # fraction of the plane's width, on each side, over which outgoing waves are absorbed
LEAST_COSINE = 0.2  # plane waves with a smaller cosine are treated as if they had this one
AROUND = 2  # wavelengths over which the beam's local obliquity is averaged
DIM = 0.01  # of the plane's mean intensity: where there is less, the beam's mean obliquity is used
STEEPEST = 2.0  # highest local 1/cos of a beam
SLOWEST = 0.5  # least effective over true wavenumber, where density jumps within a cell


class HybridAngularSpectrum:
    """Propagator through one medium, prepared once for all foci.

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
        self._edge = (edge_taper(shape[0])[:, None] * edge_taper(shape[1])).astype(np.float32)
        self._edge_loss = 1 - self._edge**2
        steps = len(medium.wavenumber) - 1
        # Half a step in the mean medium; 1/sqrt(cos) of every plane wave on every plane; the
        # voxels' differences from the mean; the fraction of the arriving power that they reflect;
        # the plane waves turned beyond 90 degrees, and the fraction of their power that fades.
        self._half = np.empty((steps, *shape), dtype=np.complex64)
        self._stretch = np.empty((steps + 1, *shape), dtype=np.float32)
        self._screen = np.empty((steps, *shape), dtype=np.complex64)
        self._reflection = np.empty((steps, *shape), dtype=np.float32)
        self._turned: list = [None] * steps
        self._stretch[0] = self._root_secant(float(medium.wavenumber[0].mean()))
        spectrum = self._enter(reference)
        # A step waits for the beam on its plane. A second thread meanwhile does what need not wait.
        with ThreadPoolExecutor(1) as worker:
            ahead, done = self._wavenumber(0), []
            coming = worker.submit(self._wavenumber, 1)
            for j in range(steps):
                before, ahead = ahead, coming.result()
                if j + 2 <= steps:
                    coming = worker.submit(self._wavenumber, j + 2)
                voxels, k0 = self._prepare(j, spectrum, 0.5 * (before + ahead))
                done.append(worker.submit(self._account, j, voxels, k0))
                field = self._to_screen(j, spectrum)
                spectrum = self._screened(j, field) * self._half[j]
            for part in done:
                part.result()

    def _root_secant(self, k: float) -> np.ndarray:
        cosine = np.sqrt(np.maximum(1 - self._transverse / k**2, LEAST_COSINE**2))
        return 1 / np.sqrt(cosine)

    def _prepare(self, j: int, spectrum: np.ndarray, k: np.ndarray):
        """Prepare the step from plane j to j + 1 for a beam with this spectrum on plane j.

        `k` : (nx, ny) wavenumber in between [1/m]. Returns the input of `_account`: root of the
        power fraction that voxels transmit, and the mean wavenumber.
        """
        medium, d = self.medium, self.spacing[2]
        a = 0.5 * (medium.attenuation[j] + medium.attenuation[j + 1])
        weight = np.abs(fft.ifft2(spectrum * self._stretch[j])).astype(float) ** 2
        weight /= weight.sum()
        k0, a0 = ((weight * values).sum() for values in (k, a))
        oblique, here = self._obliquity(spectrum, k0)
        along = np.sqrt((k0 + 1j * a0) ** 2 - self._transverse)
        step = np.sqrt((k + 1j * a) ** 2 - here) - np.sqrt((k0 + 1j * a0) ** 2 - here)
        sides = [(medium.wavenumber[i], medium.impedance[i]) for i in (j, j + 1)]
        mean = [((weight * k1).sum(), (weight * z1).sum()) for k1, z1 in sides]
        voxels = transmission(*sides, oblique)
        layers = transmission(*mean, self._transverse) / transmission(*mean, oblique)
        self._half[j] = _wave(0.5 * d * along) * np.sqrt(layers)
        self._stretch[j + 1] = self._root_secant(mean[1][0])
        self._screen[j] = self._edge * voxels * _wave(d * step)
        return voxels, k0

    def _account(self, j: int, voxels: np.ndarray, k0: float) -> None:
        """Store the losses of a step for the power balance."""
        turned = np.flatnonzero(self._transverse > k0**2)
        # In the second half of this step and the first of the next.
        self._turned[j] = turned, 1 - np.abs(self._half[j].ravel()[turned]) ** 4
        self._reflection[j] = _squared(self._screen[j]) * (1 / voxels**2 - 1)

    def _obliquity(self, spectrum: np.ndarray, k: float) -> tuple[float, np.ndarray]:
        """Squared transverse wavenumber q^2 [1/m2] of a beam on a plane: its mean, and (nx, ny).

        1/cos = |IFFT(F/sqrt(cos))|^2/|IFFT(F)|^2, the intensity over the power through the plane.
        A voxel absorbs 2 a times the former, and its screen takes 2 a/cos times the latter. Only
        with the local ratio does the absorbed power equal the beam's loss.
        """
        taken = _squared(fft.ifft2(spectrum * self._root_secant(k)))
        straight = _squared(fft.ifft2(spectrum))
        mean = taken.sum() / straight.sum()
        cells = 1 + 2 * round(AROUND * pi / k / self.spacing[0])
        taken, straight = (ndimage.uniform_filter(part, cells, mode="wrap") + DIM * part.mean()
                           for part in (taken, straight))
        secant = np.clip(taken / straight, 1, STEEPEST)
        return k**2 * (1 - mean**-2), k**2 * (1 - secant**-2)

    def _wavenumber(self, plane: int) -> np.ndarray:
        """(nx, ny) wavenumber of p/sqrt(rho) [1/m], from central differences of ln rho."""
        near = np.clip([plane - 1, plane, plane + 1], 0, len(self.medium.wavenumber) - 1)
        log_density = np.log(self.medium.impedance[near] * self.medium.wavenumber[near])
        k, second, first = self.medium.wavenumber[plane], 0.0, 0.0
        padded = np.pad(log_density, ((0, 0), (1, 1), (1, 1)), mode="edge")
        middle = padded[1, 1:-1, 1:-1]
        for after, before, step in ((padded[1, 2:, 1:-1], padded[1, :-2, 1:-1], self.spacing[0]),
                                    (padded[1, 1:-1, 2:], padded[1, 1:-1, :-2], self.spacing[1]),
                                    (log_density[2], log_density[0], self.spacing[2])):
            second = second + (after - 2 * middle + before) / step**2
            first = first + ((after - before) / (2 * step)) ** 2
        return np.sqrt(np.maximum(k**2 + second / 2 - first / 4, (SLOWEST * k) ** 2))

    def _enter(self, source: np.ndarray) -> np.ndarray:
        """Spectrum on the first plane for a pressure `source` (..., nx, ny) on it."""
        field = (source * self._edge / np.sqrt(2 * self.medium.impedance[0])).astype(np.complex64)
        return fft.fft2(field, overwrite_x=True) / self._stretch[0]

    def _to_screen(self, j: int, spectrum: np.ndarray) -> np.ndarray:
        """Field in the middle of step j, before its screen."""
        return fft.ifft2(spectrum * self._half[j], overwrite_x=True)

    def _screened(self, j: int, field: np.ndarray) -> np.ndarray:
        """Spectrum behind the screen in the middle of step j; works in place."""
        field *= self._screen[j]
        return fft.fft2(field, overwrite_x=True)

    def planes(self, source: np.ndarray):
        """Yield the complex pressure (nx, ny) [Pa] plane by plane, for a pressure on the first."""
        for j, spectrum in enumerate(self._spectra(source)):
            yield self._pressure(j, spectrum)

    def pressure_in(self, source: np.ndarray, box) -> np.ndarray:
        """Complex pressure [Pa] in a box of the grid: three slices (planes, x, y); complex64."""
        along, *across = box
        planes = islice(enumerate(self._spectra(source)), along.start, along.stop)
        return np.array([self._pressure(j, spectrum)[tuple(across)] for j, spectrum in planes])

    def _spectra(self, source: np.ndarray):
        spectrum = self._enter(source)
        yield spectrum
        for j, half in enumerate(self._half):
            spectrum = self._screened(j, self._to_screen(j, spectrum)) * half
            yield spectrum

    def _pressure(self, j: int, spectrum: np.ndarray) -> np.ndarray:
        return fft.ifft2(spectrum * self._stretch[j]) * np.sqrt(2 * self.medium.impedance[j])

    def intensity(self, source: np.ndarray) -> tuple[np.ndarray, Balance]:
        """Intensity |p|^2/(2 Z) [W/m2], (nz, nx, ny) float32, for a pressure on the first plane.

        The power balance is the second result.
        """
        out = np.empty(self.medium.wavenumber.shape, dtype=np.float32)
        (balance,) = self._march(source[None], lambda fields: fields,
                                 lambda plane, intensity: out.__setitem__(plane, intensity[0]))
        return out, balance

    def intensities(self, sources: np.ndarray, drives: np.ndarray, receive) -> list[Balance]:
        """Intensities of many phasings, from the fields of the elements propagated together.

        On every plane the field of phasing i is sum_e drives[i, e] f_e, a matrix product. Only one
        plane is in memory at a time, so that no field is stored.

        Parameters
        ----------
        sources : (n_elements, nx, ny) pressure of each element on the first plane.
        drives : (n, n_elements) complex factors.
        receive : called with (plane, (n, nx, ny) float32 intensity [W/m2]) plane by plane.

        Returns
        -------
        The n power balances.
        """
        drives = drives.astype(np.complex64)
        return self._march(sources, lambda fields: np.tensordot(drives, fields, 1), receive)

    def _march(self, sources, phased, receive) -> list[Balance]:
        """Propagate all sources from plane to plane; `phased` turns them into the wanted fields."""
        medium, last = self.medium, len(self._screen)
        spectra, area = self._enter(sources), self.spacing[0] * self.spacing[1]
        scale = area / self._edge.size  # Parseval
        entered = scale * _sums(_squared(phased(spectra)))
        absorbed, attenuated, sideways, reflected = np.zeros((4, len(entered)))
        for j in range(last + 1):
            field = fft.ifft2(spectra * self._stretch[j], overwrite_x=True)
            intensity = _squared(phased(field))
            receive(j, intensity)
            share = 2 * area * self.spacing[2] * (0.5 if j in (0, last) else 1)
            absorbed += share * _sums(intensity, medium.absorption[j])
            attenuated += share * _sums(intensity, medium.attenuation[j])
            if j == last:
                break
            field = self._to_screen(j, spectra)
            power = _squared(phased(field))
            sideways += area * _sums(power, self._edge_loss)
            reflected += area * _sums(power, self._reflection[j])
            spectra = self._screened(j, field)
            turned, fading = self._turned[j]
            reflected += scale * _sums(
                _squared(phased(spectra.reshape(len(spectra), -1)[:, turned])), fading)
            spectra *= self._half[j]
        transmitted = scale * _sums(_squared(phased(spectra)))
        return [Balance(*map(float, parts)) for parts in
                zip(entered, absorbed, attenuated - absorbed, reflected, sideways, transmitted,
                    strict=True)]

    def sensitivity(self, index) -> np.ndarray:
        """(nx, ny) complex64 g: the pressure at a point is sum(g * source) for any source.

        The steps are taken backwards from the point, each transposed. This gives the contribution
        of each element to a focus, for the cost of part of a beam.

        Parameters
        ----------
        index : fractional (plane, x, y) index of the point; the fractions are exact shifts of the
            band-limited field.
        """
        plane = int(np.clip(index[0], 0, len(self._screen) - 1))
        local = round(index[1]), round(index[2])
        k0 = float(self.medium.wavenumber[plane][local])
        kx, ky = (2 * pi * fft.fftfreq(n) for n in self._transverse.shape)
        along = np.sqrt(np.maximum(k0**2 - self._transverse, 0)) * self.spacing[2]
        phase = (index[0] - plane) * along + kx[:, None] * index[1] + ky * index[2]
        weights = (np.exp(1j * phase) * self._stretch[plane] * (along > 0)
                   * np.sqrt(2 * self.medium.impedance[plane][local]) / phase.size)
        weights = weights.astype(np.complex64)
        for j in range(plane - 1, -1, -1):
            field = fft.fft2(weights * self._half[j], overwrite_x=True) * self._screen[j]
            weights = fft.ifft2(field, overwrite_x=True) * self._half[j]
        weights = fft.fft2(weights / self._stretch[0])
        return (weights * self._edge / np.sqrt(2 * self.medium.impedance[0])).astype(np.complex64)


def transmission(before, after, oblique):
    """Square root of the power transmitted by an interface of two fluids.

    2 sqrt(N1 N2)/(N1 + N2), N = Z/cos(angle), for waves of squared transverse wavenumber
    `oblique` [1/m2]; before, after : (wavenumber [1/m], impedance [Pa s/m]). Waves beyond the
    critical angle count as if they were at `LEAST_COSINE`.
    """
    (k1, z1), (k2, z2) = before, after
    n1, n2 = (z / np.sqrt(np.maximum(1 - oblique / np.square(k), LEAST_COSINE**2))
              for k, z in ((k1, z1), (k2, z2)))
    return 2 * np.sqrt(n1 * n2) / (n1 + n2)


def _wave(phase: np.ndarray) -> np.ndarray:
    """exp(i phase) of a complex phase; in real numbers it takes a tenth of the time."""
    real, imaginary = phase.real.astype(np.float32), phase.imag.astype(np.float32)
    wave, amplitude = np.empty(phase.shape, dtype=np.complex64), np.exp(-imaginary)
    wave.real, wave.imag = amplitude * np.cos(real), amplitude * np.sin(real)
    return wave


def _squared(field: np.ndarray) -> np.ndarray:
    """|field|^2; added in place, as a third array would cost as much as a square."""
    squared = np.square(field.real)
    squared += np.square(field.imag)
    return squared


def _sums(values: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(n,) sums over the cells of n planes, weighted."""
    if weight is None:
        return values.reshape(len(values), -1).sum(axis=1, dtype=float)
    return np.array([np.vdot(part, weight) for part in values], dtype=float)


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


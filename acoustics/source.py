"""Pressure of the transducer on a plane in the water in front of the body."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, pi, sqrt

import numpy as np

from .transducer import Transducer

TABLE_ERROR = 2e-5  # of linear interpolation in the table of a disc's field, relative to its peak
REVOLVED_DISCS = 1000  # an element of more discs than this is a tiled bowl or ring
# Of such an element's field along a radius: points per wavelength, and order of the spline.
RADIAL_POINTS, SPLINE_ORDER = 6, 7
QUADRATURE_POINTS = 48  # for a disc much smaller than the wavelength; more for larger ones


def source_plane(transducer: Transducer, foci, x, y, depth: float, power: float, density: float,
                 speed: float) -> np.ndarray:
    """Complex pressure on the plane z = depth with geometric phases, one layer per focus [Pa].

    Parameters
    ----------
    foci : (n_foci, 3) transducer's frame [m].  x, y : axes of the plane [m].
    depth : distance of the plane from the apex [m].  power : radiated acoustic power [W].

    Returns
    -------
    (n_foci, len(x), len(y)) complex64.
    """
    planes = element_planes(transducer, x, y, depth, speed)
    drive = transducer.surface_pressure(power, density, speed) * (
        transducer.weights * np.exp(1j * transducer.phases(foci, speed)))
    return np.tensordot(drive.astype(np.complex64), planes, 1)


def element_planes(transducer: Transducer, x, y, depth: float, speed: float,
                   attenuation: float = 0.0, threads: int = 1) -> np.ndarray:
    """(n_elements, len(x), len(y)) complex64: pressure on z = depth of each element at p0 = 1 Pa.

    It is the sum of the fields of its discs (time dependence exp(-i w t), see `DiscField`). Any
    phasing of the transducer is a linear combination of these planes. An element of very many
    discs is a bowl or a ring around the axis: its field is computed on a radius and revolved.

    Parameters
    ----------
    x, y : axes of the plane [m].  depth : its distance from the apex [m].
    speed, attenuation : of sound in the water [m/s], [Np/m].  threads : used at the same time.
    """
    def sum_elements(elements):
        return [_revolved(transducer, e, x, y, depth, speed, attenuation)
                if (transducer.element == e).sum() > REVOLVED_DISCS else
                _summed(transducer, transducer.element == e, x, y, depth, tables, attenuation)
                for e in elements]

    tables = _tables(transducer, x, y, depth, speed)
    parts = [part for part in np.array_split(np.arange(transducer.n_elements), 4 * threads)
             if len(part)]
    with ThreadPoolExecutor(threads) as pool:
        return np.array([plane for part in pool.map(sum_elements, parts) for plane in part])


def _summed(transducer, discs, x, y, depth, tables, attenuation) -> np.ndarray:
    total = np.zeros((len(x), len(y)), dtype=np.complex64)
    for i in np.flatnonzero(discs):
        px, py, pz = transducer.positions[i]
        total += tables[transducer.radii[i]].on_plane(x - px, y - py, depth - pz,
                                                      transducer.normals[i], attenuation)
    return total


def _revolved(transducer, element: int, x, y, depth, speed, attenuation) -> np.ndarray:
    """Field of a ring of the bowl on a plane, revolved from a radius, by the Rayleigh integral

    p = -i p0 k/(2 pi) int int exp((i k - alpha) D)/D R dphi dh over its heights h and azimuths,
    by Gauss-Legendre and equidistant nodes. The range of h follows from the discs' heights.
    """
    from scipy.interpolate import make_interp_spline  # here, because arrays do not need it

    height = transducer.positions[transducer.element == element, 2]
    rim = height.max() + np.ptp(height) / (len(height) - 1) / 2 * np.array([-1, 1])
    low, high = height.min() - np.ptp(rim) / 2, rim[1]
    k, bowl = transducer.wavenumber(speed), transducer.radius_of_curvature
    radius = np.hypot(x[:, None], y)
    step = speed / transducer.frequency / RADIAL_POINTS
    line = step * np.arange(-SPLINE_ORDER, radius.max() / step + SPLINE_ORDER)
    arc = bowl * (np.arccos(1 - high / bowl) - np.arccos(1 - max(low, 0) / bowl))
    nodes, weights = np.polynomial.legendre.leggauss(20 + ceil(k * arc / 2))
    h = low + (high - low) * (nodes + 1) / 2
    across = np.sqrt(np.maximum(h * (2 * bowl - h), 0))
    count = 20 + ceil(k * min(line.max(), across.max()))
    cosine = np.cos(pi * (np.arange(count) + 0.5) / count)
    weights = weights * (high - low) / 2 * bowl * 2 * pi / count
    profile = np.empty(len(line), dtype=complex)
    for i, r in enumerate(line):
        distance = np.sqrt((r**2 + across**2 + (depth - h) ** 2)[:, None]
                           - 2 * r * across[:, None] * cosine)
        waves = np.exp((1j * k - attenuation) * distance) / distance
        profile[i] = -0.5j * k / pi * (weights @ waves.sum(axis=1))
    return make_interp_spline(line, profile, SPLINE_ORDER)(radius).astype(np.complex64)


def _tables(transducer: Transducer, x, y, depth: float, speed: float) -> dict:
    """A `DiscField` for every radius of the discs."""
    distance = np.sqrt(_range(transducer.positions[:, 0], x) + _range(transducer.positions[:, 1], y)
                       + (depth - transducer.positions[:, 2, None]) ** 2)
    return {radius: DiscField.tabulated(transducer.wavenumber(speed), radius, distance.min(),
                                        distance.max()) for radius in np.unique(transducer.radii)}


def _range(centres, axis) -> np.ndarray:
    """(n, 2) smallest and largest squared distance of each centre from the points of an axis."""
    nearest = np.maximum(0, np.maximum(axis.min() - centres, centres - axis.max()))
    farthest = np.maximum(np.abs(axis.min() - centres), np.abs(axis.max() - centres))
    return np.column_stack([nearest, farthest]) ** 2


@dataclass(frozen=True)
class DiscField:
    """Field of a baffled disc of radius a, tabulated once for any position.

    p = -i p0 k a^2/(2 r) G exp(i k r), r the distance from the centre. G = 1 far away on the
    axis and varies slowly with u = 1/r and t = sin^2 of the angle off the normal, so a table with
    linear interpolation holds the exact field, the Rayleigh integral over the disc, to a few 1e-5.

    Attributes
    ----------
    k, radius : wavenumber [1/m], radius a [m].  start, step : of the table along u [1/m] and t.
    table : (n_u, n_t) complex64 values of G.
    """

    k: float
    radius: float
    start: tuple[float, float]
    step: tuple[float, float]
    table: np.ndarray

    @classmethod
    def tabulated(cls, k: float, radius: float, nearest: float, farthest: float) -> DiscField:
        """Table for distances from `nearest` to `farthest` [m] and all angles.

        The pressure is the single integral of R. J. McGough, T. V. Samulski and J. F. Kelly,
        "An efficient grid sectoring method for calculations of the near-field pressure generated
        by a circular piston", J. Acoust. Soc. Am. 115(5), 2004, in cylindrical coordinates:

            p/p0 = a/pi int_0^pi (s cos v - a)/(s^2 + a^2 - 2 a s cos v)
                   (exp(i k sqrt(s^2 + z^2 + a^2 - 2 a s cos v)) - exp(i k z)) dv
        """
        # Interpolation errs by (spacing)^2/8 of the second derivative: (k a^2/4)^2 along u,
        # (k a)^4/96 along t.
        phase = k * radius**2 / 4 * (1 / nearest - 1 / farthest)
        n_u = 4 + ceil(phase / sqrt(8 * TABLE_ERROR))
        n_t = 4 + ceil((k * radius) ** 2 / sqrt(768 * TABLE_ERROR))
        u, t = np.linspace(1 / farthest, 1 / nearest, n_u), np.linspace(0, 1, n_t)
        nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_POINTS
                                                         + ceil(2 * k * radius))
        cosine = np.cos(pi / 2 * (nodes + 1))
        table = np.empty((n_u, n_t), dtype=np.complex64)
        for row, r in zip(table, 1 / u, strict=True):
            s, z = r * np.sqrt(t)[:, None], r * np.sqrt(1 - t)[:, None]
            gap = s**2 + radius**2 - 2 * radius * s * cosine  # squared, from point to rim, across
            wave = np.exp(1j * k * np.sqrt(gap + z**2)) - np.exp(1j * k * z)
            pressure = radius / 2 * ((s * cosine - radius) / gap * wave) @ weights
            row[:] = pressure * np.exp(-1j * k * r) * 2 * r / (-1j * k * radius**2)
        return cls(k, radius, (u[0], t[0]), (u[1] - u[0], t[1] - t[0]), table)

    def on_plane(self, x, y, z: float, normal, attenuation: float) -> np.ndarray:
        """(len(x), len(y)) complex64 pressure at p0 = 1 Pa; offsets from the disc's centre [m].

        The Rayleigh integral is symmetric about the disc's plane, so `normal` may have either sign.
        """
        r = np.sqrt((x**2)[:, None] + (y**2)[None, :] + z**2)
        inverse = (1 / r).astype(np.float32)
        cosine = (normal[0] * x)[:, None] + (normal[1] * y + normal[2] * z)[None, :]
        sine_squared = 1 - np.square(cosine.astype(np.float32) * inverse)
        turns = self.k / (2 * pi) * r
        phase = (2 * pi * (turns - np.rint(turns))).astype(np.float32)
        wave = np.empty(r.shape, dtype=np.complex64)
        wave.real, wave.imag = np.sin(phase), -np.cos(phase)  # -i exp(i phase)
        amplitude = np.float32(self.k * self.radius**2 / 2) * inverse
        if attenuation:
            amplitude *= np.exp(-attenuation * r).astype(np.float32)
        wave *= amplitude
        return wave * self._read(inverse, sine_squared)

    def _read(self, u, t) -> np.ndarray:
        """G by linear interpolation."""
        i, u = self._cell(u, 0)
        j, t = self._cell(t, 1)
        flat, index, right = self.table.ravel(), i * self.table.shape[1] + j, self.table.shape[1]
        low = flat[index] * (1 - t) + flat[index + 1] * t
        high = flat[index + right] * (1 - t) + flat[index + right + 1] * t
        return low * (1 - u) + high * u

    def _cell(self, value, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Index of the table's cell for each value, and the fraction of the way across it."""
        scaled = (value - np.float32(self.start[axis])) * np.float32(1 / self.step[axis])
        index = np.clip(scaled.astype(np.int32), 0, self.table.shape[axis] - 2)
        return index, scaled - index.astype(np.float32)

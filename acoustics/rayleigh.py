"""Reference field: direct Rayleigh sum over the elements in a homogeneous, lossless fluid."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from .transducer import Transducer

PAIRS_AT_ONCE = 4_000_000  # of a source and a point


def rayleigh_pressure(transducer: Transducer, focus, points, power: float, density: float,
                      speed: float, points_per_disc: int = 80) -> np.ndarray:
    """Complex pressure p(r) = -i k p0/(2 pi) sum_j dS_j exp(i k r_j + i phi_j)/r_j.

    Time dependence exp(-i w t). Every disc is replaced by about `points_per_disc` points of a
    quadrature rule; no directivity is assumed.

    Parameters
    ----------
    focus : (3,) where the geometric phases focus, transducer's frame [m].
    points : (n, 3) transducer's frame [m].
    power : radiated acoustic power [W].  density, speed : of the fluid [kg/m3], [m/s].

    Returns
    -------
    (n,) complex pressure [Pa].
    """
    k = transducer.wavenumber(speed)
    sources, areas = disc_points(transducer, points_per_disc)
    drive = areas * np.repeat(transducer.drive(focus, speed), len(areas) // len(transducer.radii))
    scale = -1j * k / (2 * pi) * transducer.surface_pressure(power, density, speed)
    points = np.asarray(points, dtype=float)
    pressure = np.empty(len(points), dtype=complex)
    step = max(1, PAIRS_AT_ONCE // len(sources))
    for start in range(0, len(points), step):
        part = points[start:start + step]
        distance = np.linalg.norm(part[:, None] - sources, axis=2)
        pressure[start:start + step] = (np.exp(1j * k * distance) / distance) @ drive
    return scale * pressure


def disc_points(transducer: Transducer, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadrature on every disc: points (n_discs * n, 3) and their areas (n_discs * n,).

    n is about `count`: rings at Gauss-Legendre nodes of the squared radius, with equally spaced
    points on each ring, which converges exponentially. A single point is the disc's centre.
    """
    rings = max(1, round(sqrt(count) / 2))
    on_ring = max(1, count // rings)
    nodes, weights = np.polynomial.legendre.leggauss(rings)
    radius = np.repeat(np.sqrt((nodes + 1) / 2), on_ring) * (count > 1)
    share = np.repeat(weights / 2 / on_ring, on_ring)
    angle = np.tile(2 * pi / on_ring * np.arange(on_ring), rings)
    flat = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    normal = transducer.normals
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normal, first)
    on_discs = flat[:, 0, None] * first[:, None] + flat[:, 1, None] * second[:, None]
    on_discs *= transducer.radii[:, None, None]
    areas = pi * transducer.radii[:, None] ** 2 * share
    return (transducer.positions[:, None] + on_discs).reshape(-1, 3), areas.ravel()

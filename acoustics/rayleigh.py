"""Direct Rayleigh sum over the array's faces in one homogeneous, lossless fluid: the reference."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from .transducer import Transducer

BLOCK = 4_000_000  # source-point pairs at a time


def rayleigh_pressure(transducer: Transducer, focus, points, power: float, density: float,
                      speed: float, points_per_disc: int = 80) -> np.ndarray:
    """Complex pressure p(r) = -i k p0/(2 pi) sum_j dS_j exp(i k r_j + i phi_j)/r_j.

    Time dependence exp(-i w t). Every disc is cut into `points_per_disc` equal areas; as the
    arcs between them are a small part of a wavelength, no directivity is assumed.

    Parameters
    ----------
    focus : (3,) where the geometric phases focus, transducer's frame [m].
    points : (n, 3) transducer's frame [m].
    power : radiated acoustic power [W].

    Returns
    -------
    (n,) complex pressure [Pa].
    """
    k = transducer.wavenumber(speed)
    sources = _disc_points(transducer, points_per_disc)
    area = pi * transducer.radii**2 / points_per_disc
    drive = np.repeat(area * transducer.drive(focus, speed), points_per_disc)
    scale = -1j * k / (2 * pi) * transducer.surface_pressure(power, density, speed)
    points = np.asarray(points, dtype=float)
    pressure = np.empty(len(points), dtype=complex)
    step = max(1, BLOCK // len(sources))
    for start in range(0, len(points), step):
        part = points[start:start + step]
        distance = np.linalg.norm(part[:, None] - sources, axis=2)
        pressure[start:start + step] = (np.exp(1j * k * distance) / distance) @ drive
    return scale * pressure


def _disc_points(transducer: Transducer, count: int) -> np.ndarray:
    """Sunflower points on every disc: (n_discs * count, 3), of equal area on a disc."""
    order = np.arange(count) + 0.5
    radius = np.sqrt(order / count)
    angle = order * pi * (3 - sqrt(5))
    flat = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    normal = transducer.normals
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normal, first)
    on_discs = flat[:, 0, None] * first[:, None] + flat[:, 1, None] * second[:, None]
    on_discs *= transducer.radii[:, None, None]
    return (transducer.positions[:, None] + on_discs).reshape(-1, 3)

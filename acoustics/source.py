"""Pressure of the array on a plane in the water before the body."""

from __future__ import annotations

import numpy as np
from scipy.special import j1

from .transducer import Transducer

DISCS_AT_ONCE = 16


def source_plane(transducer: Transducer, foci, x, y, depth: float, power: float, density: float,
                 speed: float) -> np.ndarray:
    """Complex pressure of the array on the plane z = depth, one layer per focus [Pa].

    Superposes the closed far field of every disc of radius a, with r and theta taken from its
    centre and its normal (time dependence exp(-i w t)):

        p = -i p0 k a^2/(2 r) 2 J1(k a sin)/(k a sin) exp(i k r + i k a^2/(4 r) (1 - sin^2/2))

    The last term is the Fresnel phase, the mean path difference over the disc's face; it keeps
    the form exact enough from about two Rayleigh distances a^2/lambda on.

    Parameters
    ----------
    foci : (n_foci, 3) transducer's frame [m].  x, y : axes of the plane [m].
    depth : distance of the plane from the apex [m].  power : radiated acoustic power [W].

    Returns
    -------
    (n_foci, len(x), len(y)) complex64.
    """
    k, radii = transducer.wavenumber(speed), transducer.radii
    scale = -0.5j * transducer.surface_pressure(power, density, speed) * k * radii**2
    drive = (scale * transducer.drive(foci, speed)).astype(np.complex64)
    pressure = np.zeros((len(drive), len(x) * len(y)), dtype=np.complex64)
    points = np.stack(np.broadcast_arrays(x[:, None], y[None, :], depth), axis=-1).reshape(-1, 3)
    for start in range(0, len(transducer.positions), DISCS_AT_ONCE):
        part = slice(start, start + DISCS_AT_ONCE)
        fields = [_disc_field(points - position, normal, k, a) for position, normal, a in
                  zip(transducer.positions[part], transducer.normals[part], radii[part],
                      strict=True)]
        pressure += drive[:, part] @ np.array(fields)
    return pressure.reshape(len(drive), len(x), len(y))


def _disc_field(offset, normal, k, a) -> np.ndarray:
    distance = np.sqrt(np.einsum("ij,ij->i", offset, offset))
    sine_squared = 1 - np.minimum((offset @ normal / distance) ** 2, 1)
    argument = np.maximum(k * a * np.sqrt(sine_squared), 1e-6)
    phase = k * distance + k * a**2 / (4 * distance) * (1 - sine_squared / 2)
    amplitude = 2 * j1(argument) / (argument * distance)
    return (amplitude * np.exp(1j * phase)).astype(np.complex64)

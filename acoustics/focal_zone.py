"""How large the focus is, and how much of the target a set of foci covers."""

from __future__ import annotations

from math import sin

import numpy as np
from scipy.spatial import cKDTree

from .transducer import Transducer

HALF_OF_AIRY = 2.2151  # where 2 J1(x)/x = 1/2
POINTS = 40_001


def focal_size(device: Transducer, speed: float) -> tuple[float, float]:
    """(width, length) of the unsteered focus in water at half its pressure, -6 dB [m].

    Both for a whole bowl of the transducer's aperture and radius of curvature R. Across, in the
    focal plane, |p| is 2 J1(x)/x with x = k r sin(half angle). Along the axis

        |p/p0| = 2/|1 - z/R| |sin(k (B - z)/2)|,  B = distance of z from the rim,

    H. T. O'Neil, J. Acoust. Soc. Am. 21, 516 (1949). A length that ends nowhere within twice R is
    cut off there.
    """
    k, radius = device.wavenumber(speed), device.radius_of_curvature
    z = radius * np.linspace(0.3, 2, POINTS)
    to_rim = np.hypot(z - device.rim_depth, device.aperture / 2)
    away = np.where(np.abs(z - radius) < 1e-9 * radius, 1e-9 * radius, z - radius)
    pressure = np.abs(2 * radius / away * np.sin(k * (to_rim - z) / 2))
    top = int(pressure.argmax())
    below = pressure < pressure[top] / 2
    before, behind = np.flatnonzero(below[:top]), np.flatnonzero(below[top:])
    start = z[before[-1]] if len(before) else z[0]
    stop = z[top + behind[0]] if len(behind) else z[-1]
    return 2 * HALF_OF_AIRY / (k * sin(device.half_angle)), float(stop - start)


def coverage(points: np.ndarray, foci: np.ndarray, frame: np.ndarray, width: float,
             length: float) -> float:
    """Fraction of the points that lie in an ellipsoid of this width and length around a focus.

    Parameters
    ----------
    points : (n, 3), foci : (m, 3) [m].  frame : (3, 3) columns x, y and, along the beam, z.
    width, length : diameters of the ellipsoids across and along the beam [m].
    """
    scale = frame / (np.array([width, width, length]) / 2)
    distance, _ = cKDTree(foci @ scale).query(points @ scale)
    return float((distance <= 1).mean())

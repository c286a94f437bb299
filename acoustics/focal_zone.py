"""How large the focus is, and how much of the target a set of foci covers."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.spatial import cKDTree
from scipy.special import j1

from .layouts import rim_depth
from .transducer import Transducer

POINTS = 40_001


def focal_size(device: Transducer, speed: float) -> tuple[float, float]:
    """(width, length) of the unsteered focus in water at half its pressure, -6 dB [m].

    Both for a whole bowl of the transducer's aperture, hole and radius of curvature R. Across, in
    the focal plane, the transform of a ring of sines from a to b,

        |p| ~ b J1(k r b) - a J1(k r a);

    along the axis, with the distances B and A of z from the rims of the bowl and of the hole,

        |p/p0| = 2/|1 - z/R| |sin(k (B - A)/2)|,

    H. T. O'Neil, J. Acoust. Soc. Am. 21, 516 (1949); without a hole A = z. A length that ends
    nowhere within twice R is cut off there.
    """
    k, radius = device.wavenumber(speed), device.radius_of_curvature
    inner, outer = device.hole / 2 / radius, device.aperture / 2 / np.hypot(
        device.aperture / 2, radius - device.rim_depth)

    def across(r):
        return (outer * j1(k * r * outer) - inner * j1(k * r * inner)) / r

    top = k / 2 * (outer**2 - inner**2)
    half = brentq(lambda r: across(r) - top / 2, 0.1 / (k * outer), 3.8 / (k * outer))
    z = radius * np.linspace(0.3, 2, POINTS)
    rims = [np.hypot(z - depth, width / 2) for depth, width in (
        (device.rim_depth, device.aperture), (rim_depth(radius, device.hole), device.hole))]
    away = np.where(np.abs(z - radius) < 1e-9 * radius, 1e-9 * radius, z - radius)
    return 2 * half, _half_length(z, np.abs(np.sin(k * (rims[0] - rims[1]) / 2) / away))


def _half_length(z: np.ndarray, values: np.ndarray) -> float:
    """Length over which a curve stays above half of its highest value, around that."""
    top = int(values.argmax())
    half = values[top] / 2
    before, behind = np.flatnonzero(values[:top] < half), np.flatnonzero(values[top:] < half)
    start, stop = z[0], z[-1]
    if len(before):
        i = before[-1]
        start = np.interp(half, values[i:i + 2], z[i:i + 2])
    if len(behind):
        i = top + behind[0]
        stop = np.interp(half, values[[i, i - 1]], z[[i, i - 1]])
    return float(stop - start)


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

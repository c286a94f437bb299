"""Directions spread evenly over the sphere."""

from __future__ import annotations

from math import asin, pi, sqrt

import numpy as np

GOLDEN_ANGLE = pi * (3 - sqrt(5))  # [rad]
RAYS = 5000  # over the whole sphere, 3 degrees apart


def fibonacci_sphere(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere, on the golden spiral."""
    i = np.arange(count) + 0.5
    z, angle = 1 - 2 * i / count, -GOLDEN_ANGLE * i
    r = np.sqrt(1 - z**2)
    return np.column_stack([r * np.cos(angle), r * np.sin(angle), z])


def cone(axis, half_angle: float, count: int = RAYS) -> np.ndarray:
    """(k, 3) directions of `fibonacci_sphere` from which a beam along `axis` converges."""
    directions = fibonacci_sphere(count)
    return directions[directions @ np.negative(axis) >= np.cos(half_angle)]


def cone_angle(aperture: float, radius_of_curvature: float) -> float:
    """Angle between a bowl's axis and its rim, seen from the geometric focus [rad].

    `aperture` : diameter of the rim [m].  `radius_of_curvature` : [m].
    """
    return asin(min(1.0, aperture / 2 / radius_of_curvature))

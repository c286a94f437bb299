"""Where a transducer's discs sit: arrays of discs on a bowl, and tiled bowls and rings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import asin, atan, ceil, cos, hypot, pi, sqrt

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.errors import InputError

CANDIDATES = 200_000  # positions drawn at a time; the gaps left near jamming are small
ATTEMPTS = 20
TILE = 0.5  # width of a tile of a bowl or ring, in wavelengths in water
WATER_SPEED = 1500.0  # only to choose the number of tiles [m/s]
GOLDEN_ANGLE = pi * (3 - sqrt(5))


@dataclass(frozen=True)
class Layout:
    """Discs of a transducer in its own frame; see `Transducer` for the attributes."""

    positions: np.ndarray
    normals: np.ndarray
    radii: np.ndarray
    element: np.ndarray
    aperture: float
    rim_depth: float


def lay_out(device: dict) -> Layout:
    """Discs of the transducer that a file of `config/transducers` describes.

    Raises
    ------
    InputError : the discs do not fit.
    """
    return _KINDS[device["kind"]](device)


def _random_spherical(device: dict) -> Layout:
    return _discs_on_bowl(device, random_cap(
        device["radius_of_curvature_m"], device["aperture_m"], device["n_elements"],
        device["element_radius_m"], device["seed"], f"config/transducers/{device['name']}.yaml"))


def _discs_on_bowl(device: dict, positions: np.ndarray) -> Layout:
    radius, count = device["radius_of_curvature_m"], len(positions)
    return Layout(positions, _towards_centre(positions, radius),
                  np.full(count, device["element_radius_m"]), np.arange(count),
                  device["aperture_m"], rim_depth(radius, device["aperture_m"]))


def _bowl(device: dict) -> Layout:
    return _tiled(device, [(device["inner_aperture_m"] / 2, device["aperture_m"] / 2)])


def _annular(device: dict) -> Layout:
    return _tiled(device, device["rings_m"])


def _tiled(device: dict, rings) -> Layout:
    """One element for each ring of the bowl; its inner and outer distance from the axis [m]."""
    radius, outer = device["radius_of_curvature_m"], max(ring[1] for ring in rings)
    width = TILE * WATER_SPEED / device["frequency_hz"]
    positions, radii, element = [], [], []
    for number, (inner, rim) in enumerate(rings):
        low, high = rim_depth(radius, 2 * inner), rim_depth(radius, 2 * rim)
        area = 2 * pi * radius * (high - low)
        count = ceil(area / width**2)
        positions.append(_spiral(radius, low, high, count))
        radii.append(np.full(count, sqrt(area / count / pi)))
        element.append(np.full(count, number))
    positions = np.vstack(positions)
    return Layout(positions, _towards_centre(positions, radius), np.concatenate(radii),
                  np.concatenate(element), 2 * outer, rim_depth(radius, 2 * outer))


def _spiral(radius: float, low: float, high: float, count: int) -> np.ndarray:
    """(count, 3) points of a Fermat spiral on a sphere between two heights, each with an equal
    area (equal areas of a sphere have equal heights: Archimedes) [m]."""
    height = low + (np.arange(count) + 0.5) / count * (high - low)
    across = np.sqrt(height * (2 * radius - height))
    angle = np.arange(count) * GOLDEN_ANGLE
    return np.column_stack([across * np.cos(angle), across * np.sin(angle), height])


def rim_depth(radius: float, aperture: float) -> float:
    """Height of a bowl's rim over its apex [m]."""
    return radius * (1 - cos(asin(aperture / 2 / radius)))


def _towards_centre(positions: np.ndarray, radius: float) -> np.ndarray:
    return ([0, 0, radius] - positions) / radius


@cache
def random_cap(radius: float, aperture: float, n_elements: int, element_radius: float,
               seed: int, file: str) -> np.ndarray:
    """Centres of discs spread at random over a spherical cap, none touching another [m].

    Random sequential addition: positions uniform on the cap are kept when they lie at least a
    disc's diameter from all kept before, and when the disc lies within the aperture. A drawing
    that jams before all discs are placed is thrown away and drawn anew.

    Returns
    -------
    (n_elements, 3), apex at the origin, axis +z.

    Raises
    ------
    InputError : the discs that `file` asks for do not fit at random (beyond roughly 54 % of the
        area none do).
    """
    # A disc touches the bowl at its centre only; its edge lies a little outside the sphere.
    edge = asin(aperture / 2 / hypot(radius, element_radius)) - atan(element_radius / radius)
    fill = n_elements * element_radius**2 / (2 * radius**2 * (1 - cos(asin(aperture / 2 / radius))))
    generator = np.random.default_rng(seed)
    best = 0
    for _ in range(ATTEMPTS if edge > 0 and fill < 0.6 else 0):
        centres = _add_until_jammed(generator, radius, edge, n_elements, 2 * element_radius)
        if len(centres) == n_elements:
            centres.setflags(write=False)  # shared by all arrays of this description
            return centres
        best = max(best, len(centres))
    raise InputError(f"discs covering {fill:.0%} of the bowl do not fit without touching"
                     + (f" (at most {best} were placed)" if best else ""),
                     file=file, key="element_radius_m", value=element_radius,
                     allowed="fewer or smaller elements, up to about 51 % of the bowl")


def _add_until_jammed(generator, radius, edge, n_elements, distance) -> np.ndarray:
    centres = np.empty((0, 3))
    for _ in range(30):
        pool = _uniform_on_cap(generator, radius, edge, CANDIDATES)
        if len(centres):
            pool = pool[cKDTree(centres).query(pool, distance_upper_bound=distance)[0] > distance]
        while len(pool) and len(centres) < n_elements:
            centres = np.vstack([centres, pool[:1]])
            pool = pool[np.linalg.norm(pool - centres[-1], axis=1) > distance]
        if len(centres) == n_elements:
            break
    return centres


def _uniform_on_cap(generator, radius, edge, count) -> np.ndarray:
    # Equal areas of a sphere have equal heights (Archimedes), so the height is uniform.
    height = generator.uniform(0, 1 - cos(edge), count)
    azimuth = generator.uniform(0, 2 * pi, count)
    across = np.sqrt(height * (2 - height))
    return radius * np.column_stack([across * np.cos(azimuth), across * np.sin(azimuth), height])


_KINDS = {"random_spherical": _random_spherical, "bowl": _bowl, "annular": _annular}

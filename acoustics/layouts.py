"""Positions of a transducer's discs: arrays of discs on a bowl, and tiled bowls and rings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import asin, atan, ceil, cos, hypot, pi, sqrt

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.errors import InputError
from hifuflow.numerics.sphere import GOLDEN_ANGLE

from .settings import TransducerSettings

CANDIDATES = 200_000  # positions drawn at a time; the gaps left near jamming are small
DRAWINGS = 12  # of candidates, over all attempts
TILE = 0.5  # width of a tile of a bowl or ring, in wavelengths in water
MOST_TILES = 500_000
WATER_SPEED = 1500.0  # [m/s], only to choose the number of tiles


@dataclass(frozen=True)
class Layout:
    """Discs of a transducer in its frame; see `Transducer` for the attributes."""

    positions: np.ndarray
    normals: np.ndarray
    radii: np.ndarray
    element: np.ndarray
    rim_depth: float


def lay_out(settings: TransducerSettings) -> Layout:
    """Discs of the transducer that a file of `config/transducers` describes.

    Raises
    ------
    InputError : the discs do not fit, or too many tiles would be needed.
    """
    if settings.kind == "elements":
        return _listed(settings.discs)
    if settings.kind in ("bowl", "annular"):
        return _tiled(settings)
    radius, aperture = settings.radius_of_curvature, settings.aperture
    positions = (random_cap if settings.kind == "random_spherical" else spiral_cap)(
        radius, aperture, settings.hole, settings.n_elements, settings.element_radius,
        settings.seed, settings.written.file)
    count = len(positions)
    return Layout(positions, _towards_centre(positions, radius),
                  np.full(count, settings.element_radius), np.arange(count),
                  rim_depth(radius, aperture))


def _listed(discs) -> Layout:
    """Layout of listed discs (n, 7): centre, unit normal and radius of each."""
    rows = np.array(discs)
    positions, normals, radii = rows[:, :3], rows[:, 3:6], rows[:, 6]
    rim = positions[:, 2] + radii * np.sqrt(np.maximum(1 - normals[:, 2] ** 2, 0))
    return Layout(positions, normals, radii, np.arange(len(rows)), float(rim.max()))


def _tiled(settings: TransducerSettings) -> Layout:
    """Layout of a tiled bowl, with one element, or one for each ring.

    Raises
    ------
    InputError : there would be too many tiles.
    """
    radius = settings.radius_of_curvature
    rings = settings.rings if settings.kind == "annular" else [
        (settings.hole / 2, settings.aperture / 2)]
    width = TILE * WATER_SPEED / settings.frequency
    positions, radii, element = [], [], []
    for number, (inner, outer) in enumerate(rings):
        low, high = rim_depth(radius, 2 * inner), rim_depth(radius, 2 * outer)
        area = 2 * pi * radius * (high - low)
        count = ceil(area / width**2)
        if count > MOST_TILES:
            raise settings.written.error(
                f"is so high that the bowl would need {count} tiles", "frequency_hz",
                allowed=f"at most {MOST_TILES} tiles of half a wavelength: a smaller bowl or a "
                        "lower frequency")
        positions.append(_spiral(radius, low, high, count))
        radii.append(np.full(count, sqrt(area / count / pi)))
        element.append(np.full(count, number))
    positions = np.vstack(positions)
    return Layout(positions, _towards_centre(positions, radius), np.concatenate(radii),
                  np.concatenate(element), rim_depth(radius, settings.aperture))


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
def random_cap(radius: float, aperture: float, hole: float, n_elements: int,
               element_radius: float, seed: int, file: str) -> np.ndarray:
    """Centres of discs spread at random over a spherical cap, none touching another [m].

    Random sequential addition: uniform positions on the cap are accepted if they lie at least a
    disc's diameter from all accepted ones, and if the disc lies between the hole and the rim. An
    attempt that jams before all discs are placed is discarded and started again.

    Parameters
    ----------
    radius, aperture, hole : of the bowl: radius of curvature, diameter of the rim, and diameter of
        a hole around the axis [m].
    n_elements, element_radius : number and radius [m] of the discs.  seed : of the random numbers.

    Returns
    -------
    (n_elements, 3), apex at the origin, axis +z.

    Raises
    ------
    InputError : the discs that `file` asks for do not fit at random.
    """
    inner, edge = _room(radius, aperture, hole, element_radius)
    area = 2 * pi * radius * (rim_depth(radius, aperture) - rim_depth(radius, hole))
    fill = n_elements * pi * element_radius**2 / area
    generator, best = np.random.default_rng(seed), 0
    drawings = DRAWINGS if edge > inner else 0
    while drawings:
        centres, drawings = _add_until_jammed(generator, radius, (inner, edge), n_elements,
                                              2 * element_radius, drawings)
        if len(centres) == n_elements:
            centres.setflags(write=False)  # shared by all arrays of this description
            return centres
        best = max(best, len(centres))
    raise InputError(f"discs covering {fill:.0%} of the bowl do not fit without touching"
                     + (f" (at most {best} were placed)" if best else ""),
                     file=file, key="element_radius_m", value=element_radius,
                     allowed="fewer or smaller elements, up to about 51 % of the bowl")


def spiral_cap(radius: float, aperture: float, hole: float, n_elements: int,
               element_radius: float, seed: int, file: str) -> np.ndarray:
    """Centres of discs on a Fermat spiral over a spherical cap, each with an equal area [m].

    Parameters, Returns, Raises : as for `random_cap`; the seed has no effect.
    """
    inner, edge = _room(radius, aperture, hole, element_radius)
    if edge <= inner:
        raise InputError("no disc fits between the hole and the rim", file=file,
                         key="element_radius_m", value=element_radius,
                         allowed=f"below {(aperture - hole) / 4:.4g}")
    low, high = (radius * (1 - cos(angle)) for angle in (inner, edge))
    centres = _spiral(radius, low, high, n_elements)
    nearest = cKDTree(centres).query(centres, k=2)[0][:, 1].min() if n_elements > 1 else np.inf
    if nearest < 2 * element_radius:
        raise InputError("the discs overlap on the spiral", file=file, key="element_radius_m",
                         value=element_radius, allowed=f"at most {nearest / 2:.4g} for "
                         f"{n_elements} elements, or fewer elements")
    return centres


def _room(radius: float, aperture: float, hole: float, element_radius: float):
    """Smallest and largest angle from the axis at which the centre of a disc may lie [rad].

    A disc touches the bowl at its centre only; its edge lies a little outside the sphere.
    """
    sphere, disc_angle = hypot(radius, element_radius), atan(element_radius / radius)
    inner = asin(min(1.0, hole / 2 / sphere)) + disc_angle if hole else 0.0
    return inner, asin(aperture / 2 / sphere) - disc_angle


def _add_until_jammed(generator, radius, room, n_elements, distance, drawings):
    """Centres (n, 3) of at most `n_elements` discs, and the number of drawings left."""
    centres, count, before = np.empty((n_elements, 3)), 0, -1
    while drawings and count > before:
        drawings, before = drawings - 1, count
        pool = _uniform_on_cap(generator, radius, room, CANDIDATES)
        if count:
            near = cKDTree(centres[:count]).query(pool, distance_upper_bound=distance)[0]
            pool = pool[near > distance]
        tree = cKDTree(pool, balanced_tree=False, compact_nodes=False) if len(pool) else None
        taken = bytearray(len(pool))
        for i, centre in enumerate(pool):
            if not taken[i]:
                centres[count], count = centre, count + 1
                if count == n_elements:
                    return centres, drawings
                for j in tree.query_ball_point(centre, distance):
                    taken[j] = True
    return centres[:count], drawings


def _uniform_on_cap(generator, radius, room, count) -> np.ndarray:
    # Equal areas of a sphere have equal heights (Archimedes), so the height is uniform.
    height = generator.uniform(*(1 - cos(angle) for angle in room), count)
    azimuth = generator.uniform(0, 2 * pi, count)
    across = np.sqrt(height * (2 - height))
    return radius * np.column_stack([across * np.cos(azimuth), across * np.sin(azimuth), height])

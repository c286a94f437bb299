"""Focused arrays of disc elements: where the elements sit and how far the focus can be steered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import asin, atan, cos, hypot, pi

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import j1

from hifuflow.errors import InputError

from .frame import beam_frame

CANDIDATES = 200_000  # positions drawn at a time; the gaps left near jamming are small
ATTEMPTS = 20


@dataclass(frozen=True)
class Transducer:
    """A bowl of equal disc elements that all face the bowl's centre of curvature.

    In the transducer's own frame the apex is at the origin, the sound travels along +z and the
    geometric focus is at (0, 0, radius_of_curvature).

    Attributes
    ----------
    name : what the array is called in the files made with it.
    frequency : [Hz].
    radius_of_curvature, aperture, element_radius : [m]; the aperture is a diameter.
    positions : (n_elements, 3) centres of the elements, own frame [m].
    max_power : highest acoustic power [W].
    max_lateral, max_axial : how far from the geometric focus a focus may lie [m].
    """

    name: str
    frequency: float
    radius_of_curvature: float
    aperture: float
    element_radius: float
    positions: np.ndarray
    max_power: float
    max_lateral: float
    max_axial: float

    @classmethod
    def from_config(cls, device: dict) -> Transducer:
        """Build the array that a file of `config/transducers` describes.

        Raises
        ------
        InputError : the discs do not fit.
        """
        name, radius, aperture = (device[key] for key in
                                  ("name", "radius_of_curvature_m", "aperture_m"))
        positions = random_cap(radius, aperture, device["n_elements"], device["element_radius_m"],
                               device["seed"], f"config/transducers/{name}.yaml")
        steering = device["max_steering_m"]
        return cls(name, device["frequency_hz"], radius, aperture, device["element_radius_m"],
                   positions, device["max_power_w"], steering["lateral"], steering["axial"])

    @property
    def normals(self) -> np.ndarray:
        """(n_elements, 3) unit normals, towards the centre of curvature."""
        return ([0, 0, self.radius_of_curvature] - self.positions) / self.radius_of_curvature

    @property
    def rim_depth(self) -> float:
        """Distance along the axis from the apex to the plane of the rim [m]."""
        return self.radius_of_curvature * (1 - cos(self.half_angle))

    def first_depth(self, speed: float) -> float:
        """Nearest plane to the apex on which the elements' far fields hold [m].

        Two Rayleigh distances a^2/lambda of an element beyond the rim, `speed` that of water.
        """
        return self.rim_depth + 2 * self.element_radius**2 * self.frequency / speed

    @property
    def half_angle(self) -> float:
        """Angle between the axis and the rim, seen from the geometric focus [rad]."""
        return asin(self.aperture / 2 / self.radius_of_curvature)

    def wavenumber(self, speed: float) -> float:
        """k = 2 pi f / c [1/m]."""
        return 2 * pi * self.frequency / speed

    def placed(self, apex, axis) -> tuple[np.ndarray, np.ndarray]:
        """Element centres [m] and normals in the patient frame for an apex and an axis."""
        rotation = beam_frame(axis)
        return self.positions @ rotation.T + apex, self.normals @ rotation.T

    def surface_pressure(self, power: float, density: float, speed: float) -> float:
        """p0 = rho c v0 of every element when the array radiates `power` [W] in all [Pa].

        A baffled disc radiates pi a^2 p0^2/(2 rho c) (1 - J1(2ka)/(ka)), the radiation
        resistance of the piston; the elements' action on one another is left out.
        """
        ka = self.wavenumber(speed) * self.element_radius
        resistance = 1 - j1(2 * ka) / ka
        area = len(self.positions) * pi * self.element_radius**2
        return float(np.sqrt(2 * density * speed * power / (area * resistance)))

    def phases(self, focus, speed: float) -> np.ndarray:
        """Geometric focusing: -k |focus - element|, focus in the own frame (..., 3) [rad]."""
        distance = np.linalg.norm(np.asarray(focus)[..., None, :] - self.positions, axis=-1)
        return -self.wavenumber(speed) * distance


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

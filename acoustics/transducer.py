"""Focused transducers: radiating discs, the elements that drive them, and their focusing."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import atan2, pi

import numpy as np
from scipy.special import j1

from .layouts import lay_out
from .settings import TransducerSettings


@dataclass(frozen=True)
class Transducer:
    """A focused transducer: flat radiating discs, grouped into independently driven elements.

    An array has one disc per element. Elements of another shape, a whole bowl or a ring of it, are
    tiled with many discs that are smaller than the wavelength and together have the element's area.
    In the transducer's frame the apex is at the origin, the sound travels along +z and the
    geometric focus is at (0, 0, radius_of_curvature).

    Attributes
    ----------
    name : what the transducer is called in the files made with it.
    frequency : [Hz].
    radius_of_curvature : distance from the apex to the geometric focus [m].
    aperture, hole : diameters of the rim and of a hole around the axis (0: none) [m].
    rim_depth : distance along the axis from the apex to the plane of the rim [m].
    positions, normals, radii : (n, 3), (n, 3), (n,) of the discs, transducer's frame [m].
    element : (n,) index of the element that each disc belongs to, ascending from 0.
    weights : (n_elements,) amplitude of each element over that at full drive; 0: failed.
    max_lateral, max_axial : largest steering of a focus from the geometric focus [m].
    """

    name: str
    frequency: float
    radius_of_curvature: float
    aperture: float
    hole: float
    rim_depth: float
    positions: np.ndarray = field(repr=False)
    normals: np.ndarray = field(repr=False)
    radii: np.ndarray = field(repr=False)
    element: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    max_lateral: float
    max_axial: float

    @classmethod
    def of(cls, settings: TransducerSettings) -> Transducer:
        """The transducer that a file of `config/transducers` describes.

        Raises
        ------
        InputError : the discs do not fit.
        """
        layout = lay_out(settings)
        return cls(settings.name, settings.frequency, settings.radius_of_curvature,
                   settings.aperture, settings.hole, layout.rim_depth, layout.positions,
                   layout.normals, layout.radii, layout.element, np.array(settings.weights),
                   settings.max_lateral, settings.max_axial)

    @property
    def n_elements(self) -> int:
        """Number of independently driven elements."""
        return len(self.weights)

    @property
    def areas(self) -> np.ndarray:
        """(n_elements,) radiating area [m2]."""
        return np.bincount(self.element, pi * self.radii**2)

    @property
    def half_angle(self) -> float:
        """Angle between the axis and the rim, seen from the geometric focus [rad]."""
        return atan2(self.aperture / 2, self.radius_of_curvature - self.rim_depth)

    @property
    def first_depth(self) -> float:
        """Depth of the nearest plane to the apex on which the discs' fields are computed [m].

        It lies a diameter of the largest disc beyond the rim, so that no point is on a disc's edge.
        """
        return self.rim_depth + 2 * self.radii.max()

    def wavenumber(self, speed: float) -> float:
        """k = 2 pi f / c [1/m]."""
        return 2 * pi * self.frequency / speed

    def surface_pressure(self, power: float, density: float, speed: float) -> float:
        """p0 = rho c v0 [Pa] of an element of weight 1 when all together radiate `power` [W].

        An element of weight w and area A, baffled, radiates

            w^2 A p0^2/(2 rho c) (1 - J1(2ka)/(ka)),  pi a^2 = A,

        with the radiation resistance of a piston, which tends to 1 for elements much larger than
        the wavelength. Mutual radiation impedance is neglected.
        """
        ka = self.wavenumber(speed) * np.sqrt(self.areas / pi)
        resistance = 1 - j1(2 * ka) / ka
        area = (self.weights**2 * self.areas * resistance).sum()
        return float(np.sqrt(2 * density * speed * power / area))

    def phases(self, focus, speed: float) -> np.ndarray:
        """Phases [rad] of geometric focusing: all elements' waves reach the focus in phase.

        -arg(sum_j A_j exp(i k d_j)) over the discs of each element, d_j their distance from the
        focus. With one disc per element this is -k d, up to whole turns.

        Parameters
        ----------
        focus : (..., 3), transducer's frame [m].  speed : speed of sound in water [m/s].

        Returns
        -------
        (..., n_elements)
        """
        distance = np.linalg.norm(np.asarray(focus)[..., None, :] - self.positions, axis=-1)
        arriving = self.radii**2 * np.exp(1j * self.wavenumber(speed) * distance)
        first = np.flatnonzero(np.diff(self.element, prepend=-1))
        return -np.angle(np.add.reduceat(arriving, first, axis=-1))

    def drive(self, focus, speed: float) -> np.ndarray:
        """(..., n) weight and geometric phase of every disc, as one complex factor."""
        return (self.weights * np.exp(1j * self.phases(focus, speed)))[..., self.element]

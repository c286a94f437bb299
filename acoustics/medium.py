"""Acoustic properties of the cells, and the power balance of a beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Medium:
    """Acoustic properties on the beam's grid, each (nz, nx, ny) float32, planes along the beam.

    Attributes
    ----------
    wavenumber : w/c [1/m].  impedance : rho c [Pa s/m].
    attenuation : of the amplitude, by all causes [Np/m].
    absorption : part of the attenuation that heats the body [Np/m].
    """

    wavenumber: np.ndarray
    impedance: np.ndarray
    attenuation: np.ndarray
    absorption: np.ndarray


@dataclass(frozen=True)
class Balance:
    """Power balance of a beam [W]: the power that enters the grid is the sum of the others.

    Attributes
    ----------
    entered : through the first plane.  absorbed : as heat in the body.
    scattered : taken by attenuation but not by absorption, or outside the body.
    reflected : at interfaces, or turned beyond 90 degrees.  sideways : into the absorbing edge.
    transmitted : through the last plane.
    """

    entered: float
    absorbed: float
    scattered: float
    reflected: float
    sideways: float
    transmitted: float

    @property
    def missing(self) -> float:
        """Fraction of the entered power that none of the others accounts for."""
        accounted_for = (self.absorbed + self.scattered + self.reflected + self.sideways
                         + self.transmitted)
        return 1 - accounted_for / self.entered

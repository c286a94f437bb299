"""What the sound finds in each cell, and where its power goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Medium:
    """Acoustic properties on the beam's grid, each (nz, nx, ny) float32, planes along the beam.

    wavenumber : w/c [1/m].  impedance : rho c [Pa s/m].
    attenuation : loss of amplitude by all causes [Np/m].
    absorption : loss of amplitude that turns into heat in the body [Np/m].
    """

    wavenumber: np.ndarray
    impedance: np.ndarray
    attenuation: np.ndarray
    absorption: np.ndarray


@dataclass(frozen=True)
class Balance:
    """Where the power of a beam goes [W]: what enters the grid is the sum of the others.

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
        """Part of the entered power that none of the others accounts for."""
        found = (self.absorbed + self.scattered + self.reflected + self.sideways
                 + self.transmitted)
        return 1 - found / self.entered

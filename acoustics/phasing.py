"""Drives of the elements that focus their waves."""

from __future__ import annotations

import numpy as np

from .angular_spectrum import HybridAngularSpectrum
from .transducer import Transducer


def geometric(device: Transducer, focus, power: float, density: float, speed: float) -> np.ndarray:
    """(..., n_elements) complex surface pressure [Pa], with phases by the distance in water.

    Parameters
    ----------
    focus : (..., 3) transducer's frame [m].  power : radiated acoustic power [W].
    density, speed : of water [kg/m3], [m/s].
    """
    amplitude = device.surface_pressure(power, density, speed) * device.weights
    return (amplitude * np.exp(1j * device.phases(focus, speed))).astype(np.complex64)


def conjugated(drive: np.ndarray, beam: HybridAngularSpectrum, planes: np.ndarray,
               index) -> np.ndarray:
    """(n_elements,) `drive` [Pa] with the phases for which all waves reach a point in phase.

    Phase conjugation: each element gets the opposite of the phase with which its wave arrives. By
    reciprocity all these phases follow from one propagation backwards from the point. Amplitudes
    are kept.

    Parameters
    ----------
    planes : (n_elements, nx, ny) field of each element on the beam's first plane.
    index : fractional (plane, x, y) index of the point.
    """
    arriving = np.tensordot(planes, beam.sensitivity(index), 2)
    return (np.abs(drive) * np.exp(-1j * np.angle(arriving))).astype(np.complex64)

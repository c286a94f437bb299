"""Loss of intensity by steering: intensity of steered foci in water."""

from __future__ import annotations

import numpy as np

from hifuflow.records.plan import Plan

from .frame import beam_frame
from .rayleigh import disc_points
from .transducer import Transducer

POINTS = 19  # of the map, along and across the beam
MARGIN = 1.25  # extent of the map over the limits of steering
POINTS_PER_DISC = 12
PAIRS_AT_ONCE = 1_000_000  # of a source and a point


def steering_map(plan: Plan, device: Transducer, speed: float) -> dict[str, np.ndarray]:
    """Map of the focal gain on two planes through the axis, over the steering range of the array.

    Returns
    -------
    The arrays of `records.heating.Heating.steering`; empty for a transducer that does not steer
    both across and along its axis.
    """
    if not (device.max_lateral and device.max_axial):
        return {}
    frame = beam_frame(plan.axis)
    across = [axis * np.sign(axis[np.argmax(np.abs(axis))]) for axis in frame.T[:2]]
    lateral, axial = (MARGIN * limit * np.linspace(-1, 1, POINTS)
                      for limit in (device.max_lateral, device.max_axial))
    centre = device.radius_of_curvature * np.array([0.0, 0, 1])
    along, beside = np.meshgrid(axial, lateral, indexing="ij")
    points = [centre + along[..., None] * [0, 0, 1] + beside[..., None] * (axis @ frame)
              for axis in across]
    return {"gain": steered_gain(device, np.stack(points), speed),
            "lateral_m": lateral, "axial_m": axial, "across": np.array(across),
            "limit_m": np.array([device.max_lateral, device.max_axial]),
            "focus_m": plan.apex + frame @ centre}


def steered_gain(device: Transducer, foci, speed: float) -> np.ndarray:
    """Intensity of each steered focus over that of the geometric focus, at equal power.

    |sum_j d_j dS_j exp(i k r_j)/r_j|^2 in water, the Rayleigh sum over points j on the discs with
    the geometric drive d of that focus.

    Parameters
    ----------
    foci : (..., 3) transducer's frame [m].  speed : of sound in water [m/s].

    Returns
    -------
    (...) gain, 1 at the geometric focus.
    """
    k = device.wavenumber(speed)
    sources, areas = disc_points(device, POINTS_PER_DISC)
    centre = [[0, 0, device.radius_of_curvature]]
    points = np.vstack([np.reshape(foci, (-1, 3)), centre])
    pressure = []
    for part in np.array_split(points, 1 + len(points) * len(sources) // PAIRS_AT_ONCE):
        distance = np.linalg.norm(part[:, None] - sources, axis=2)
        waves = areas * np.exp(1j * k * distance) / distance
        discs = waves.reshape(len(part), len(device.radii), -1).sum(axis=2)
        pressure.append((discs * device.drive(part, speed)).sum(axis=1))
    intensity = np.abs(np.concatenate(pressure)) ** 2
    return (intensity[:-1] / intensity[-1]).reshape(np.shape(foci)[:-1])

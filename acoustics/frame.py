"""The beam's axes in the patient frame."""

from __future__ import annotations

import numpy as np

PARALLEL = 0.9  # cosine above which the patient's x axis is too close to the beam to define x


def unit_axis(axis) -> np.ndarray:
    """(3,) unit vector along `axis`."""
    vector = np.asarray(axis, dtype=float)
    return vector / np.linalg.norm(vector)


def beam_frame(axis) -> np.ndarray:
    """(3, 3) rotation whose columns are the beam's x, y and z axes in the patient frame.

    z is the direction of travel; x lies as close as possible to the patient's x axis (to the
    y axis for beams along x), so that the frame turns smoothly with the beam; y completes a
    right-handed set.
    """
    z = unit_axis(axis)
    lead = np.eye(3)[1 if abs(z[0]) > PARALLEL else 0]
    x = lead - (lead @ z) * z
    x /= np.linalg.norm(x)
    # Adding zero turns the -0.0 of products with zero into 0.0.
    return np.column_stack([x, np.cross(z, x), z]) + 0.0

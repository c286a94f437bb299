"""Compartment of any position, and its distance from the surfaces, by smoothed masks."""

from __future__ import annotations

import numpy as np

from .compartments import OUTSIDE, REST, TARGET, Compartments
from .surfaces import SmoothMask

LEAST_SLOPE = 0.3  # of a signed distance; where it is less there is a ridge, not a surface
# Voxels by which smoothing may move a curved surface: the body's, the target's, organs'.
MOST_SHIFT = (0.1, 0.25, 0.5)


class Fields:
    """Smoothed masks and their iso-levels, which give the compartment of a position.

    Each mask but the body's covers its organ and all organs before it, so that no gap opens where
    two touch. A position belongs to the first mask that covers it.

    Parameters
    ----------
    masks : `SmoothMask` of the body; the target; the target and the first organ; ...
    levels : the iso-level of each.
    """

    def __init__(self, masks, levels):
        self.masks, self.levels = masks, levels

    @classmethod
    def finest(cls, compartments: Compartments) -> Fields:
        """Fields with the resolution of the voxels.

        Smoothing moves a curved surface inwards. Each level compensates for that, so that the
        volume is the voxels'. It is limited by `MOST_SHIFT`: where smoothing removes thin parts,
        nothing else may grow instead.
        """
        def smooth(mask):
            return SmoothMask(mask, compartments.origin, compartments.spacing, np.inf)

        fields, levels = [], []
        for number, volume in enumerate(compartments.volumes, REST):
            alone = smooth(compartments.mask(number))
            most = compartments.spacing.min() * MOST_SHIFT[min(number - REST, 2)]
            levels.append(float(np.clip(alone.level(volume), -most, most)))
            before = (compartments.index >= TARGET) & (compartments.index <= number)
            fields.append(smooth(before) if number > TARGET else alone)
        return cls(fields, levels)

    def __call__(self, positions):
        """(n, len(masks)) values [m] at positions (n, 3), positive inside.

        The body contains whatever lies in its parts.
        """
        value = np.column_stack([mask(positions) - level
                                 for mask, level in zip(self.masks, self.levels, strict=True)])
        value[:, 0] = value.max(axis=1)
        return value

    @staticmethod
    def compartment(value):
        """(n,) compartment at positions with these values (n, len(masks))."""
        inner = value[:, 1:] > 0
        return np.where(value[:, 0] <= 0, OUTSIDE,
                        np.where(inner.any(axis=1), TARGET + inner.argmax(axis=1), REST))

    @staticmethod
    def between(value, low, high):
        """(n,) value that is 0 on the surface between compartments `low` < `high` (n,)."""
        column = np.where(low == OUTSIDE, 0, np.where(low == REST, high, low) - REST)
        return value[np.arange(len(value)), column]

    def slope(self, positions, low, high):
        """Value (n,) [m] between two compartments, and its gradient (n, 3)."""
        h = min(mask.step.min() for mask in self.masks) / 2
        value = self.between(self(positions), low, high)
        gradient = np.column_stack([
            (self.between(self(positions + d), low, high)
             - self.between(self(positions - d), low, high)) / (2 * h) for d in h * np.eye(3)])
        return value, gradient

    def step(self, positions, low, high):
        """Newton's step (n, 3) [m] towards the surface between two compartments."""
        value, gradient = self.slope(positions, low, high)
        slope = np.maximum(np.linalg.norm(gradient, axis=1), LEAST_SLOPE)
        return (-value / slope**2)[:, None] * gradient

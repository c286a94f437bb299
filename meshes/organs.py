"""Organs whose surfaces the cells can follow, by the organs' thickness."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.job import log

from .compartments import TARGET, Compartments
from .sizes import SizeField

LADDER = 1.5  # ratio of successive thicknesses that are told apart
THICKEST = 2.0  # half thickness over the target's radius; thicker parts need no fine cells
THINNEST = 1.0  # least half thickness over the cell size at which an organ's shape is kept
MOST_LOST = 0.25  # volume fraction of an organ that may be thinner than that


def follow_organs(compartments: Compartments, sizes: SizeField, cells: int) -> list:
    """Make the cells follow the organs; give up organs that so many cells cannot resolve.

    A surface that the cells are too large for would only deform its organ. The thinnest of the
    organs that are not resolved is therefore given up, and its voxels are averaged over the cells
    like those of any speckled tissue. This is repeated until all remaining organs are resolved.

    Returns
    -------
    list of {"region", "too_thin" (fraction of its volume), "cell_size_m", "cells_needed"}.
    """
    thickest = THICKEST * sizes.radius
    organs = {name: Thickness(compartments.index == number, compartments.spacing, thickest)
              for number, name in enumerate(compartments.names)
              if number > TARGET and (compartments.index == number).any()}
    given_up = []
    while organs:
        sizes.follow(organs.values())
        size = sizes.size(cells)
        finest = {name: organ.finest() for name, organ in organs.items()
                  if organ.lost(size) > MOST_LOST}
        if not finest:
            break
        worst = min(finest, key=finest.get)
        lost, needed = organs.pop(worst).lost(size), int(np.ceil(sizes.cells(finest[worst])))
        given_up.append({"region": worst, "too_thin": float(lost), "cell_size_m": float(size),
                         "cells_needed": needed})
        log.warning("region %s gets no surface of its own: %.0f %% of it is too thin for the "
                    "%.1f mm of the finest of %d cells, about %d cells would resolve it; each "
                    "cell has the average of the tissues in it", worst, 100 * lost, size * 1e3,
                    cells, needed)
        compartments.give_up(worst)
    sizes.follow(organs.values())
    return given_up


class Thickness:
    """Thickness of an organ's parts: those into which balls of growing radii do not fit.

    Parameters
    ----------
    mask : (nx, ny, nz) bool.  spacing : (3,) [m].  thickest : half thickness of interest [m].

    Attributes
    ----------
    box : slices of the label map around the organ.
    thinner : half thickness [m] -> (bool) voxels of the box where it is smaller than that.
    """

    def __init__(self, mask, spacing, thickest):
        box = ndimage.find_objects(mask.astype(np.int8))[0]
        self.box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        self.mask, self.spacing = mask[self.box], np.asarray(spacing)
        self.depth = ndimage.distance_transform_edt(self.mask, sampling=spacing)
        self.thinner, level = {}, float(self.spacing.min())
        while level < thickest:
            level *= LADDER
            self.thinner[level] = self._thinner(level)

    def _thinner(self, level):
        """Parts thinner than `level` [m]: the mask less its opening by a ball, to about a voxel."""
        core = self.depth >= level
        if not core.any():
            return self.mask
        away = ndimage.distance_transform_edt(~core, sampling=self.spacing)
        return self.mask & (away > level + self.spacing.max() / 2)

    def lost(self, size: float) -> float:
        """Volume fraction of the organ that is too thin for cells of this size [m]."""
        return self._thinner(THINNEST * size).sum() / self.mask.sum()

    def finest(self) -> float:
        """Largest size of cells [m] that resolve the organ, to 5 %."""
        low, high = self.spacing.min() / 10, float(self.depth.max()) / THINNEST
        while high > 1.05 * low:
            middle = np.sqrt(low * high)
            low, high = (low, middle) if self.lost(middle) > MOST_LOST else (middle, high)
        return float(low)

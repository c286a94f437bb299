"""Which organs with a boundary the cells can follow, and how thin these are."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.job import log

from .compartments import TARGET, Compartments
from .sizes import SizeField

LADDER = 1.5  # step between the thicknesses that are told apart
THICKEST = 2.0  # half thickness over the target's radius; thicker parts ask for no fine cells
THINNEST = 1.0  # half thickness over the cell size from which on an organ's shape is kept
MOST_LOST = 0.25  # share of an organ that may be thinner than that


def follow_organs(compartments: Compartments, sizes: SizeField, cells: int) -> list:
    """Let the cells follow the organs; give up those that so many cells cannot hold.

    A surface that the cells are too large for would only deform its organ. So of the organs that
    are not held the thinnest is given up, its voxels averaged over the cells like those of any
    speckled tissue, until all others are held.

    Returns
    -------
    list of {"region", "too_thin" (share of its volume), "cell_size_m", "cells_needed"}.
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
                    "%.1f mm of the finest of %d cells, about %d would hold it; the cells have "
                    "the average of what is in them", worst, 100 * lost, size * 1e3, cells,
                    needed)
        compartments.give_up(worst)
    sizes.follow(organs.values())
    return given_up


class Thickness:
    """Which parts of an organ are how thick: what balls of growing radii do not fit into.

    Parameters
    ----------
    mask : (nx, ny, nz) bool.  spacing : (3,) [m].  thickest : half thickness of interest [m].

    Attributes
    ----------
    box : the organ's place in the map.
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
        """The mask without its opening by a ball, which may miss corners by a voxel."""
        core = self.depth >= level
        if not core.any():
            return self.mask
        away = ndimage.distance_transform_edt(~core, sampling=self.spacing)
        return self.mask & (away > level + self.spacing.max() / 2)

    def lost(self, size: float) -> float:
        """Share of the organ that cells of this size [m] are too large for."""
        return self._thinner(THINNEST * size).sum() / self.mask.sum()

    def finest(self) -> float:
        """Largest size of cells [m] that hold the organ, to a twentieth."""
        low, high = self.spacing.min() / 10, float(self.depth.max()) / THINNEST
        while high > 1.05 * low:
            middle = np.sqrt(low * high)
            low, high = (low, middle) if self.lost(middle) > MOST_LOST else (middle, high)
        return float(low)

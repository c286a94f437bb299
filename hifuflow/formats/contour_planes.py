"""From the contours of a structure in parallel planes to the voxels of a stack of slices.

In a slice on a plane the voxels whose centres are inside its contours; where their area is not
that of the contours, the voxels that they cover best, as many as make up the area. Between two
planes the shape in between, by the signed distances of both (S. P. Raya and J. K. Udupa,
Shape-based interpolation of multidimensional objects, IEEE Trans. Med. Imaging 9, 1990, p. 32).
Beyond the last plane, and at a gap, a plane stands for half its distance from the next: of a slice
that this covers in part, as large a part of the plane's area, its inside first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hifuflow.job import log

from .filled import filled_contours
from .layers import Piece

SAME_PLANE = 0.1  # slices: contours so near to each other, or to a slice, are in one plane
FINE = 8  # samples along each edge of a pixel, to see how much of it is covered
AREA = 0.005  # part of its contours' area by which that of a plane's voxels may differ
SPREAD = (0.7548776662466927, 0.5698402909980532)  # of a plane's points: the plastic ratio's powers
WIDEST = 2.5  # of a structure's usual distance: planes farther apart have a gap between them


@dataclass(frozen=True)
class Planes:
    """`at` (n,) where the planes are, in slices, rising; `contours` of each, arrays (m, 2) in
    pixels."""

    at: np.ndarray
    contours: tuple

    @classmethod
    def of(cls, held: list) -> Planes:
        """From pairs of a contour's place and its corners."""
        held = sorted(held, key=lambda pair: pair[0])
        at: list = []
        contours: list = []
        for place, points in held:
            if at and place - at[-1][0] <= SAME_PLANE:
                at[-1].append(place)
                contours[-1].append(points)
            else:
                at.append([place])
                contours.append([points])
        return cls(np.array([np.mean(places) for places in at]), tuple(contours))


def voxels_of(planes: Planes, label: int, shape: tuple, what: str) -> Piece | None:
    """The structure's voxels in a volume of this shape; None if it has none.

    Parameters
    ----------
    what : the structure in words, for the log.
    """
    corners = np.concatenate([points for one in planes.contours for points in one])
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, shape[:2])
    masks = [section([points - low for points in one], tuple((high - low).tolist()))
             for one in planes.contours]
    steps = np.diff(planes.at)
    usual = float(np.median(steps)) if len(steps) else 1.0
    gap = steps > WIDEST * usual
    first = max(int(np.floor(planes.at[0] - usual)), 0)
    last = min(int(np.ceil(planes.at[-1] + usual)), shape[2] - 1)
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(first, last + 1))
    slices, between = [], []
    for k in range(first, last + 1):
        nearest = int(np.abs(planes.at - k).argmin())
        above = int(np.searchsorted(planes.at, k))
        if abs(planes.at[nearest] - k) <= SAME_PLANE:
            slices.append(masks[nearest])
        elif 0 < above < len(planes.at) and not gap[above - 1] and (
                masks[above - 1] & masks[above]).any():
            share = (k - planes.at[above - 1]) / steps[above - 1]
            slices.append(_between(masks[above - 1], masks[above], share))
            between.append(k)
        else:
            ends = [_part(masks[one], 0.5 + usual / 2 - abs(planes.at[one] - k))
                    for one in (above - 1, above) if 0 <= one < len(planes.at)]
            slices.append(np.logical_or.reduce(ends))
    if between:
        log.info("%s: %d slices between its contours are interpolated", what, len(between))
    if gap.any():
        log.warning("%s: %d gaps between its contours, of up to %.3g slices, stay empty", what,
                    gap.sum(), steps.max())
    piece = Piece.of(label, np.stack(slices, axis=-1))
    return None if piece is None else Piece(label, tuple(
        slice(inner.start + outer.start, inner.stop + outer.start)
        for inner, outer in zip(piece.box, box, strict=True)), piece.mask)


def section(contours, shape: tuple) -> np.ndarray:
    """Pixels (ni, nj) bool that contours in one plane hold; see `filled.filled_contours`."""
    centres = filled_contours(contours, shape)
    fine = filled_contours([(points + 0.5) * FINE - 0.5 for points in contours],
                           (FINE * shape[0], FINE * shape[1]))
    covered = fine.reshape(shape[0], FINE, shape[1], FINE).sum(axis=(1, 3))
    count = round(covered.sum() / FINE**2)
    if abs(int(centres.sum()) - count) <= AREA * count:
        return centres
    return _best(covered, count)


def _best(values, count: int) -> np.ndarray:
    """The `count` pixels of the highest values; of equal ones some, evenly spread."""
    i, j = np.indices(values.shape)
    order = np.lexsort(((i * SPREAD[0] + j * SPREAD[1]).ravel() % 1, -values.ravel()))
    mask = np.zeros(values.shape, bool)
    mask.ravel()[order[:count]] = True
    return mask


def _depth(mask) -> np.ndarray:
    """Distance from the mask's edge, positive inside, in pixels."""
    padded = np.pad(mask, 1)
    return (ndimage.distance_transform_edt(padded)
            - ndimage.distance_transform_edt(~padded))[1:-1, 1:-1]


def _between(one, other, share) -> np.ndarray:
    """The shape at this share of the way from one mask to another, of an extent in between."""
    extent = (1 - share) * np.sqrt(one.sum()) + share * np.sqrt(other.sum())
    return _best((1 - share) * _depth(one) + share * _depth(other), round(extent**2))


def _part(mask, share) -> np.ndarray:
    """The innermost pixels of a mask, as many as make up this share of its area."""
    count = round(min(max(share, 0), 1) * int(mask.sum()))
    return _best(_depth(mask), count) if count else np.zeros_like(mask)

"""Which part of a label map is modelled: crop, cut planes, coupling water."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

WATER_VOXELS = 3  # outside voxels kept in front of the skin and beside it


def crop_box(body, target, wall, spacing, axis, margin, half_angle):
    """Slices around the beam's way to the target.

    The box holds the body voxels whose distance from the target, across the axis, is at most
    `margin` [m] or within the beam's cone, from the first in front of the target to `margin`
    behind it, or to the wall straight behind it if that is farther; with a few voxels of water in
    front and wherever the body ends of itself.

    Parameters
    ----------
    body, target, wall : (nx, ny, nz) bool; the wall is cut away with all that lies behind it.
    spacing : (3,) [m].  axis : (3,) unit vector.
    half_angle : between the axis and the outermost rays to a focus [rad].
    """
    across = np.linalg.svd(axis[None])[2][1:]
    directions = np.stack([axis, *across])
    start = [s.start for s in bounding_box(target)]
    position = (np.argwhere(target[bounding_box(target)]) + start) * spacing @ directions.T
    low, high = position.min(axis=0), position.max(axis=0)
    main = int(np.argmax(np.abs(axis)))
    # Where a ray enters the wall: a wall voxel whose neighbour towards the transducer is none.
    front = wall & ~np.roll(wall, 1 if axis[main] > 0 else -1, axis=main)
    entry = np.argwhere(front) * spacing @ directions.T
    straight = ((entry[:, 1:] >= low[1:]) & (entry[:, 1:] <= high[1:])).all(axis=1)
    deepest = max(high[0] + margin, entry[straight, 0].max(initial=-np.inf))
    x, y, z = (np.arange(n) * d for n, d in zip(body.shape, spacing, strict=True))
    held = body.copy()
    for slab, x_slab in zip(held, x, strict=True):  # slab by slab: it takes less memory
        depth, *sideways = (u[0] * x_slab + u[1] * y[:, None] + u[2] * z for u in directions)
        reach = np.maximum(margin, (high[0] - depth) * np.tan(half_angle)) + 1e-9
        slab &= depth <= deepest + 1e-9
        for along, a, b in zip(sideways, low[1:], high[1:], strict=True):
            slab &= (along >= a - reach) & (along <= b + reach)
    box = bounding_box(held)
    limits = [[s.start, s.stop] for s in box]
    for i, n in enumerate(body.shape):
        for side, step in ((0, -1), (1, 1)):
            front = i == main and step * axis[main] < 0
            for _ in range(WATER_VOXELS):
                plane = limits[i][side] - (side == 0)
                if not 0 <= plane < n:
                    break
                window = [slice(*limit) for limit in limits]
                window[i] = plane
                if body[tuple(window)].any() and not front:
                    break
                limits[i][side] += step
    return tuple(slice(*limit) for limit in limits)


def bounding_box(mask):
    """Slices of the smallest box that holds a mask; the mask must hold a voxel."""
    first = mask.any(axis=0)
    sides = mask.any(axis=(1, 2)), first.any(axis=1), first.any(axis=0)
    ends = (np.flatnonzero(side)[[0, -1]] for side in sides)
    return tuple(slice(int(a), int(b) + 1) for a, b in ends)


def cropped(labels, affine, box):
    """The labels in a box and the affine that keeps their positions."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [s.start or 0 for s in box]
    return labels[box].copy(), moved


def behind(mask, spacing, axis):
    """Voxels of a mask and all that lie behind them along the axis, (nx, ny, nz) bool.

    The grid is sheared, whole voxels at a time, until the rays run along one of its axes; there a
    running maximum gives the shadow.
    """
    main = int(np.argmax(np.abs(axis)))
    n = mask.shape[main]
    step = axis / axis[main] * spacing[main] / spacing
    shifts = np.rint(np.arange(n)[:, None] * np.delete(step, main)).astype(int)
    layers = np.moveaxis(mask, main, 0)
    low, high = shifts.min(axis=0), shifts.max(axis=0)
    shape = np.array(layers.shape[1:])
    sheared = np.zeros((n, *(shape + high - low)), bool)
    starts = high - shifts
    windows = [(k, slice(a, a + shape[0]), slice(b, b + shape[1]))
               for k, (a, b) in enumerate(starts)]
    for window, layer in zip(windows, layers, strict=True):
        sheared[window] = layer
    order = slice(None) if axis[main] > 0 else slice(None, None, -1)
    sheared = np.logical_or.accumulate(sheared[order], axis=0)[order]
    shadow = np.stack([sheared[window] for window in windows])
    return np.moveaxis(shadow, 0, main)


def scan_edge(body, beyond):
    """Voxels beside the body that the scan does not reach: the model ends there, (nx, ny, nz) bool.

    Parameters
    ----------
    body : (nx, ny, nz) bool.
    beyond : (nx, ny, nz) bool, voxels that the scan does not reach, or None: it reaches all.
    """
    if beyond is None:
        return np.zeros_like(body)
    return beyond & ~body & ndimage.binary_dilation(body, np.ones((3, 3, 3)))


def surroundings(body, wall, spacing, axis, box):
    """Outside voxels that hold coupling water, and those that hold air, (nx, ny, nz) bool each.

    Water is reached from the transducer's side: it fills the outside voxels before the first voxel
    of the body and, flooding from there, the gaps between two parts of the body along the axis (an
    undercut). What lies behind the last body voxel or behind a cut is not coupled. Air is at all
    other free surfaces of the body: not behind a cut, and not enclosed by the body.

    Parameters
    ----------
    body : (nx, ny, nz) bool, the whole label map's, before anything was cut away.
    wall : (nx, ny, nz) bool, the voxels to cut away and all behind them.
    box : slices that the result is wanted for.
    """
    solid = body | wall
    behind_first = behind(solid, spacing, axis)[box]
    before_last = behind(solid, spacing, -axis)[box]
    gap = behind_first & before_last & ~solid[box]
    water = ndimage.binary_propagation(~behind_first, mask=~behind_first | gap)
    return water, ~solid[box] & ~water & ~ndimage.binary_fill_holes(solid)[box]

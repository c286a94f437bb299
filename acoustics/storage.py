"""Size and precision of the heating that is stored."""

from __future__ import annotations

import numpy as np

STORED_FRACTION = 0.999  # of the absorbed power that the stored box contains
KEPT_BITS = 9  # of the 23 bits of a single-precision mantissa: an accuracy of one in a thousand


def choose_box(profiles, fraction: float = STORED_FRACTION) -> tuple[slice, slice, slice]:
    """Small box, found layer by layer, that contains at least a `fraction` of every field.

    Parameters
    ----------
    profiles : for each field its three 1D profiles, one along each axis, summed over the others.

    Returns
    -------
    Slices along the three axes. The sum of the layers cut off is an upper bound on the loss, so the
    box contains at least `fraction`.
    """
    fields = [[p / p.sum() for p in field] for field in profiles]
    layers = [np.max([field[axis] for field in fields], axis=0) for axis in range(3)]
    low, high = [0, 0, 0], [len(layer) for layer in layers]
    budget = 1 - fraction
    while True:
        size = np.subtract(high, low)
        # Least power for the most cells: a layer has 1/size of the box's cells.
        cost, axis, side = min(
            (layers[axis][low[axis] if side == 0 else high[axis] - 1] * size[axis], axis, side)
            for axis in range(3) for side in (0, 1))
        cost /= size[axis]
        if cost > budget or size[axis] <= 1:
            return tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        budget -= cost
        if side == 0:
            low[axis] += 1
        else:
            high[axis] -= 1


def rounded(field: np.ndarray) -> np.ndarray:
    """Values as float32, rounded to `KEPT_BITS` binary digits so that they compress to a third.

    The relative error is at most 1 in 2^(KEPT_BITS + 1) and averages out in sums. The file can so
    keep every cell instead of averages over cells.
    """
    dropped = 23 - KEPT_BITS
    bits = np.array(field, dtype=np.float32, order="C").view(np.uint32)
    up = bits >> np.uint32(dropped)
    up &= np.uint32(1)  # ties to even
    up += np.uint32((1 << (dropped - 1)) - 1)
    bits += up
    bits &= np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return bits.view(np.float32)

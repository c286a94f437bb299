"""How much of the beam's grid is kept in the heating file, and how exactly."""

from __future__ import annotations

import numpy as np

HELD = 0.999  # part of the absorbed power inside the stored box
KEPT_BITS = 9  # of the 23 bits behind the point of a single-precision number: to one in a thousand


def choose_box(profiles, held: float = HELD) -> tuple[slice, slice, slice]:
    """Smallest box, found layer by layer, that holds the fraction `held` of every field.

    Parameters
    ----------
    profiles : per field three 1D sums of it, one along each axis (over the other two).

    Returns
    -------
    slices along the three axes. The loss is bounded from above by the sum of the layers cut
    off, so the box holds at least `held`.
    """
    fields = [[p / p.sum() for p in field] for field in profiles]
    layers = [np.max([field[axis] for field in fields], axis=0) for axis in range(3)]
    low, high = [0, 0, 0], [len(layer) for layer in layers]
    budget = 1 - held
    while True:
        size = np.subtract(high, low)
        # Losing the least power for the most cells: a layer holds 1/size of the box.
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
    """float32 values rounded to `KEPT_BITS` binary digits, so that they pack to a third.

    The error is at most 1 in 2^(KEPT_BITS + 1) of each value and averages out in sums: the file
    keeps every cell at full resolution instead of averages over cells.
    """
    dropped = 23 - KEPT_BITS
    bits = np.array(field, dtype=np.float32, order="C").view(np.uint32)
    up = bits >> np.uint32(dropped)
    up &= np.uint32(1)  # ties to even
    up += np.uint32((1 << (dropped - 1)) - 1)
    bits += up
    bits &= np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return bits.view(np.float32)

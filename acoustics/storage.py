"""How much of the beam's grid is kept in the heating file."""

from __future__ import annotations

import numpy as np

HELD = 0.999  # part of the absorbed power inside the stored box
LARGEST = 600e6  # bytes of float32 for all foci


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


def choose_coarsening(box, n_foci: int) -> int:
    """Smallest factor by which cells must be merged for all foci to fit into `LARGEST` bytes."""
    factor = 1
    while 4 * n_foci * np.prod([np.ceil((b.stop - b.start) / factor) for b in box]) > LARGEST:
        factor += 1
    return factor


def coarsen(field: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor^3 cells (zeros beyond the end): the integral stays the same."""
    if factor == 1:
        return field
    padded = np.pad(field, [(0, -n % factor) for n in field.shape])
    blocks = [part for n in padded.shape for part in (n // factor, factor)]
    return padded.reshape(blocks).mean(axis=(1, 3, 5))

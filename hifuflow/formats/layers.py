"""Masks of single structures packed into as few label maps as their overlaps take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Piece:
    """One structure. `label` of it, `box` (slices) in the volume, `mask` (bool) inside the box."""

    label: int
    box: tuple
    mask: np.ndarray

    @classmethod
    def of(cls, label: int, volume: np.ndarray) -> Piece | None:
        """The structure of a mask of the whole volume; None if it is empty."""
        if not volume.any():
            return None
        box = []
        for axis in range(3):
            held = np.flatnonzero(volume.any(axis=tuple(a for a in range(3) if a != axis)))
            box.append(slice(int(held[0]), int(held[-1]) + 1))
        return cls(label, tuple(box), volume[tuple(box)].copy())


def packed(pieces: Iterable[Piece | None], shape: tuple) -> list[np.ndarray]:
    """Label maps (nx, ny, nz) uint16: each piece in the first one where its voxels are free."""
    layers = [np.zeros(shape, np.uint16)]
    for piece in filter(None, pieces):
        free = next((layer for layer in layers if not layer[piece.box][piece.mask].any()), None)
        if free is None:
            free = np.zeros(shape, np.uint16)
            layers.append(free)
        free[piece.box][piece.mask] = piece.label
    return layers

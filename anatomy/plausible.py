"""Whether a body is one: organs lie inside of bodies, not in water."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.records.anatomy import Anatomy

INNER = ("liver", "kidney", "spleen", "lung", "bone")  # tissues that no body ends with
MOST = 0.3  # of the free surface that may be such tissues: a map is coarse, or ends beside a rib


def check_body(anatomy: Anatomy) -> list[str]:
    """A warning, in words, if much of the body's free surface is that of an inner organ."""
    free = anatomy.coupling | anatomy.air
    surface = anatomy.body_mask & ndimage.binary_dilation(free)
    if not surface.any():
        return []
    count = np.bincount(anatomy.labels[surface], minlength=anatomy.labels.max() + 1)
    bare = {name: count[region["label"]] / count.sum()
            for name, region in anatomy.regions.items()
            if region["tissue"] in INNER and count[region["label"]]}
    if sum(bare.values()) <= MOST:
        return []
    parts = ", ".join(f"{share:.0%} {name}" for name, share in
                      sorted(bare.items(), key=lambda entry: -entry[1]))
    return [f"the body ends in water or air with {parts}: an organ without its body? What the "
            "ultrasound crosses before it must be in the map as well"]

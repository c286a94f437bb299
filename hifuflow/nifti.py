"""What a NIfTI header says about lengths."""

from __future__ import annotations

METRES_PER_UNIT = {"meter": 1.0, "micron": 1e-6}  # anything else, "unknown" included, is mm


def metres_per_unit(image) -> float:
    """Length [m] of one unit of a nibabel image's affine, by its header's `xyzt_units`."""
    units = getattr(image.header, "get_xyzt_units", lambda: ("mm", "sec"))()[0]
    return METRES_PER_UNIT.get(units, 1e-3)

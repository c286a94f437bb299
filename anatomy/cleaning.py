"""Noise of a segmentation: specks of obstacles, stray bits of the target, holes in the body.

A piece is noise if it is no larger than its size in the settings, or a single voxel; a size of 0
keeps all. Voxels that share a corner belong to one piece, so that thin oblique sheets stay whole;
those of a hole share a face. A piece takes the label that most of the voxels around it have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hifuflow.job import log

from .crop import bounding_box
from .settings import AnatomySettings

ANY_CORNER = np.ones((3, 3, 3))
STRAY = 0.05  # of the target's voxels: a piece that holds more of it is no stray bit


@dataclass(frozen=True)
class _Kind:
    """One kind of noise, in words."""

    one: str
    name: str  # of its size among the settings
    size: float


def cleaned(labels: np.ndarray, regions: dict, voxel_volume: float,
            settings: AnatomySettings) -> tuple[np.ndarray, list[str]]:
    """The map without noise, and what was done, in words.

    Parameters
    ----------
    labels : (nx, ny, nz).  regions : name -> {"label", "tissue"}.  voxel_volume : [m3].
    settings : which regions are cut or of a tissue that blocks the beam, what the target is, and
        the sizes of noise.
    """
    sizes = settings.cleaning
    labels, notes = labels.copy(), []
    target = settings.target.region
    obstacles = _obstacles(regions, settings)
    never = [regions[name]["label"] for name in obstacles]
    for name in obstacles:
        _replace(labels, labels == regions[name]["label"], voxel_volume, notes,
                 _Kind(f"speck(s) of {name}", "specks", sizes.specks), never)
    if target and settings.target.at is None and not settings.target.largest_component:
        mask = labels == regions[target]["label"]
        _replace(labels, mask, voxel_volume, notes,
                 _Kind(f"stray bit(s) of {target}", "stray_target", sizes.stray_target),
                 [regions[target]["label"]], most=STRAY * mask.sum())
    body = bounding_box(labels > 0)
    _replace(labels[body], labels[body] == 0, voxel_volume, notes,
             _Kind("hole(s) in the body", "holes", sizes.holes), [], enclosed=True)
    for note in notes:
        log.warning("%s", note)
    return labels, notes


def _obstacles(regions: dict, settings: AnatomySettings) -> list[str]:
    """Names of the regions that cut the model off or block the beam; never the target's."""
    return [name for name, region in regions.items() if name != settings.target.region
            and (name in settings.cut_regions or settings.tissues[region["tissue"]].blocks)]


def _replace(labels, mask, voxel_volume, notes, kind: _Kind, never, most=np.inf, enclosed=False):
    """Give the small pieces of a mask the label around them, in place.

    Parameters
    ----------
    never : labels that they do not take.  most : voxels that a piece may have.
    enclosed : only pieces that do not reach the edge of the map; their voxels share faces.
    """
    if not kind.size or not mask.any():
        return
    box = bounding_box(mask)
    near = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    labels, mask = labels[near], mask[near]  # a view of the map
    piece, count = ndimage.label(mask, None if enclosed else ANY_CORNER)
    voxels = np.bincount(piece.ravel(), minlength=count + 1)
    small = ((voxels == 1) | (voxels * voxel_volume <= kind.size)) & (voxels <= most)
    small[0] = False
    if enclosed:
        for axis in range(3):
            small[np.take(piece, [0, -1], axis)] = False
    chosen = np.flatnonzero(small)
    if not len(chosen):
        return
    boxes = ndimage.find_objects(piece)
    for number in chosen:
        around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in boxes[number - 1])
        own = piece[around] == number
        beside = labels[around][ndimage.binary_dilation(own, ANY_CORNER) & ~own]
        beside = beside[(beside > 0) & ~np.isin(beside, never)]
        labels[around][own] = np.bincount(beside).argmax() if len(beside) else 0
    notes.append(f"{len(chosen)} {kind.one} of at most {kind.size * 1e9:g} mm3 or one voxel, "
                 f"{voxels[chosen].sum()} voxel(s) in all, taken for what is around "
                 f"(anatomy.cleaning.{kind.name}_mm3)")

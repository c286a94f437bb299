"""Tissue classes from the intensities of an image: ranges, components, holes, islands."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.formats.image import Segment
from hifuflow.formats.images import open_image
from hifuflow.formats.side_files import source_sha256
from hifuflow.job import log
from hifuflow.provenance import config_hash

from .labelmap import LabelMap, aligned, is_aligned, onto
from .source_settings import ScanSettings, ThresholdSettings

KEY = "anatomy.image"


def classified(settings: ScanSettings, base: LabelMap | None) -> LabelMap:
    """Label map of an image's classes, which fill what a label map on top leaves at 0.

    The classes are found on the label map's grid, if there is one; the image is interpolated
    linearly onto it where the two differ. Where classes overlap, as a filled body does with the
    organs in it, the class written first holds the voxel.

    Parameters
    ----------
    settings : the image, and the classes of its intensities.
    base : label map whose labels stay.

    Raises
    ------
    InputError : an image that cannot be read; a class without voxels.
    """
    image = open_image(settings.image, KEY)
    layers = image.layers()
    if len(layers) != 1:
        raise InputError(f"{len(layers)} values a voxel", file=image.file, key=KEY,
                         allowed="an image of one number a voxel")
    (values,), affine = aligned(image, layers, order=1)
    if base is None:
        base = LabelMap([], affine, "", record={"format": image.format})
    shape = base.layers[0].shape if base.layers else values.shape
    back = np.linalg.inv(affine) @ base.affine
    moved = values.shape != shape or not np.allclose(affine, base.affine, atol=1e-6)
    beyond = None
    if moved or not is_aligned(image):
        (reached,), _ = aligned(image, [np.ones(image.shape, np.float32)], order=1)
        beyond = np.isnan(onto(reached, back, shape, order=1) if moved else reached)
    if moved:
        values = onto(values, back, shape, order=1)
        log.info("the image is interpolated onto the label map's grid %s", shape)
    if not np.isfinite(values).any():
        raise InputError("holds no number" if beyond is None or not beyond.all() else
                         "lies wholly beside the label map", file=image.file, key=KEY,
                         allowed="an image of the body that is treated")
    classes = np.zeros(values.shape, np.int32)
    free = np.ones(values.shape, bool)
    for layer in base.layers:
        free &= layer == 0
    voxel = float(np.prod(np.diag(base.affine)[:3]))
    for number, one in reversed(list(enumerate(settings.classes, 1))):
        mask = _class(values, one, voxel)
        if not mask.any():
            finite = values[np.isfinite(values)]
            bounds = {"at_least": one.at_least, "below": one.below}
            raise one.written.error(
                "no voxel of the image is in this class",
                value={key: bound for key, bound in bounds.items() if bound is not None},
                allowed=f"intensities of the image: {finite.min():g} to {finite.max():g}")
        classes[mask & free] = number
    names = tuple(Segment(number, one.name, len(base.layers))
                  for number, one in enumerate(settings.classes, 1))
    for segment in names:
        log.info("class %s: %d voxels", segment.name, (classes == segment.label).sum())
    parts = {"labels": base.sha256, "image": source_sha256(image.file),
             "thresholds": settings.written.values}
    return LabelMap([*base.layers, classes], base.affine, config_hash(parts),
                    (*base.segments, *names),
                    {**base.record, "thresholds": settings.written.values}, beyond=beyond)


def _class(values, settings: ThresholdSettings, voxel: float):
    """Voxels of one class, cleaned; `voxel` : volume of one [m3]."""
    with np.errstate(invalid="ignore"):
        mask = np.isfinite(values)
        if settings.at_least is not None:
            mask &= values >= settings.at_least
        if settings.below is not None:
            mask &= values < settings.below
    least = settings.smallest_island / voxel
    if settings.largest_component or least > 1:
        component, n = ndimage.label(mask)
        size = np.bincount(component.ravel(), minlength=n + 1)
        size[0] = 0
        keep = size >= least
        if settings.largest_component and n:
            keep &= np.arange(n + 1) == size.argmax()
        keep[0] = False
        mask = keep[component]
    return _filled(mask) if settings.fill_holes else mask


def _filled(mask):
    """What a mask encloses on all sides; holes that run out of the scan, like gas in a bowel that
    is cut by the last slice, are closed where that slice encloses them."""
    mask = mask.copy()
    for axis in range(3):
        planes = np.moveaxis(mask, axis, 0)
        for end in (0, -1):
            planes[end] = ndimage.binary_fill_holes(planes[end])
    return ndimage.binary_fill_holes(mask)

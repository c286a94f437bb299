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

from .labelmap import LabelMap, aligned, check_volumes, grown_over, is_aligned, onto
from .source_settings import ScanSettings, ThresholdSettings

KEY = "anatomy.image"


def classified(settings: ScanSettings, base: LabelMap | None) -> LabelMap:
    """Label map of an image's classes, which fill what a label map on top leaves at 0.

    On the label map's grid, if there is one. An image along the patient's axes is interpolated
    linearly onto it where the two differ, and classified there. An oblique or sheared image is
    classified as it is, and its classes are resampled, nearest neighbour: interpolated
    intensities would shrink what is small. Where classes overlap, as a filled body does with the
    organs in it, the class written first holds the voxel.

    Parameters
    ----------
    settings : the image, and the classes of its intensities.
    base : label map whose labels stay.

    Raises
    ------
    InputError : an image that cannot be read; a class without voxels.
    """
    image = open_image(settings.image, KEY, settings.nifti_transform)
    layers = image.layers()
    if len(layers) != 1:
        raise InputError(f"{len(layers)} values a voxel", file=image.file, key=KEY,
                         allowed="an image of one number a voxel")
    if base is not None and base.sparse:
        base = grown_over(base, image)
    on_image = _classes_resampled if not is_aligned(image) else _classes_of_interpolated
    classes, beyond, affine = on_image(image, layers[0], base, settings.classes)
    if base is None:
        base = LabelMap([], affine, "", record={"format": image.format})
    for layer in base.layers:
        classes[layer != 0] = 0
    names = tuple(Segment(number, one.name, len(base.layers))
                  for number, one in enumerate(settings.classes, 1))
    for segment in names:
        log.info("class %s: %d voxels", segment.name, (classes == segment.label).sum())
    parts = {"labels": base.sha256, "image": source_sha256(image.file),
             "thresholds": settings.written.values}
    return LabelMap([*base.layers, classes], base.affine, config_hash(parts),
                    (*base.segments, *names),
                    {**base.record, "image": {"format": image.format, **image.record},
                     "thresholds": settings.written.values},
                    beyond=beyond)


def _classes_of_interpolated(image, values, base, wanted):
    """Classes of an image along the patient's axes, on the label map's grid if there is one.

    Returns
    -------
    classes : (nx, ny, nz) int32.  beyond : voxels that the image does not reach, or None.
    affine : of the grid.
    """
    (values,), affine = aligned(image, [values], order=1)
    beyond = None
    if base is not None and not (values.shape == base.layers[0].shape
                                 and np.allclose(affine, base.affine, atol=1e-6)):
        back, shape = np.linalg.inv(affine) @ base.affine, base.layers[0].shape
        beyond = np.isnan(onto(np.ones(values.shape, np.float32), back, shape, order=1))
        values, affine = onto(values, back, shape, order=1), base.affine
        log.info("the image is interpolated onto the label map's grid %s", shape)
    return _classes(image, values, beyond, affine, wanted), beyond, affine


def _classes_resampled(image, values, base, wanted):
    """Classes of an oblique or sheared image, brought onto the grid; see `classified`."""
    own = _classes(image, values, None, image.affine, wanted)
    (classes, reached), affine = aligned(image, [own, np.ones(own.shape, np.uint8)], order=0)
    change = check_volumes(image, [own], [classes], affine)
    if base is not None:
        back, shape = np.linalg.inv(image.affine) @ base.affine, base.layers[0].shape
        classes, reached = (onto(array, back, shape, order=0)
                            for array in (own, np.ones(own.shape, np.uint8)))
        affine = base.affine
        if not reached.any():
            raise InputError("lies wholly beside the label map", file=image.file, key=KEY,
                             allowed="an image of the body that is treated")
    log.info("the image is oblique: its classes are resampled onto an aligned grid %s, volumes "
             "change by up to %.2f %%", classes.shape, 100 * change)
    return classes, reached == 0, affine


def _classes(image, values, beyond, affine, wanted):
    """Number of each voxel's class, from 1 in the order of the thresholds; 0 is none."""
    if not np.isfinite(values).any():
        raise InputError("holds no number" if beyond is None or not beyond.all() else
                         "lies wholly beside the label map", file=image.file, key=KEY,
                         allowed="an image of the body that is treated")
    classes = np.zeros(values.shape, np.int32)
    voxel = abs(float(np.linalg.det(affine[:3, :3])))
    for number, one in reversed(list(enumerate(wanted, 1))):
        mask = _class(values, one, voxel)
        if not mask.any():
            finite = values[np.isfinite(values)]
            bounds = {"at_least": one.at_least, "below": one.below}
            raise one.written.error(
                "no voxel of the image is in this class",
                value={key: bound for key, bound in bounds.items() if bound is not None},
                allowed=f"intensities of the image: {finite.min():g} to {finite.max():g}")
        classes[mask] = number
    return classes


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

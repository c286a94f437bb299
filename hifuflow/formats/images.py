"""Images and label maps in the formats that hospitals and segmentation tools write.

One reader per family of formats; all give the same `Image`: voxels in the file's own order, where
they are in the patient (R, A, S), and the names that the header gives to label values.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError

from .image import DICOM, FORMATS, META, NIFTI, NRRD, Image, is_dicom, unreadable

MOST_VOXELS = 1_000_000_000
FINEST, COARSEST = 1e-5, 0.05  # voxel edges that a body can be imaged with [m]


def open_image(path, key: str | None = None, nifti_transform: str = "auto") -> Image:
    """Read the header of an image or label map.

    Parameters
    ----------
    key : the configuration's key for errors.
    nifti_transform : which transform of a NIfTI header counts; see `formats.nifti_place`.

    Raises
    ------
    InputError : the file is corrupt, of an unknown kind, too large, not three-dimensional, has no
        orientation or no usable affine.
    """
    # The readers are loaded with the first file of their kind: some of their libraries are slow.
    path = Path(path)
    if path.is_dir():
        from .dicom_series import open_series as reader
    elif _has_suffix(path, NRRD):
        from .nrrd_image import open_nrrd as reader
    elif _has_suffix(path, META):
        from .meta_image import open_meta as reader
    elif _has_suffix(path, DICOM) or is_dicom(path):
        from .dicom_series import open_file as reader
    elif _has_suffix(path, NIFTI):
        from .nifti import open_nifti
        reader = partial(open_nifti, transform=nifti_transform)
    else:
        raise InputError("not a known kind of image", file=path, key=key, allowed=FORMATS)
    try:
        image = reader(path, key)
    except OSError as error:
        raise unreadable(error, path, key) from error
    _check(image)
    return image


def _has_suffix(path, suffixes) -> bool:
    return path.name.lower().endswith(suffixes)


def _check(image) -> None:
    """Refuse, before any voxel is read, what cannot be a map of a body."""
    fault = {"file": image.file, "key": image.key}
    voxels = math.prod(image.shape)
    if voxels > MOST_VOXELS:
        raise InputError(f"the header tells of {voxels} voxels, {image.shape}", **fault,
                         allowed=f"at most {MOST_VOXELS} voxels: crop or coarsen it")
    if len(image.shape) != 3 or min(image.shape) < 2:
        raise InputError(f"the image has the shape {image.shape}", **fault,
                         allowed="a three-dimensional image: take one volume of a series, such as "
                                 "a subtraction image, out of it")
    scale = image.spacing
    if not np.isfinite(image.affine).all() or (
            abs(np.linalg.det(image.affine[:3, :3])) < 1e-3 * scale.prod() or not scale.all()):
        raise InputError("the image's affine is singular", **fault,
                         allowed="an affine that maps voxels to millimetres")
    if scale.min() < FINEST or scale.max() > COARSEST:
        edges = " x ".join(f"{edge * 1e3:.3g}" for edge in scale)
        raise InputError(f"voxels of {edges} mm", **fault,
                         allowed=f"edges from {FINEST * 1e3:g} to {COARSEST * 1e3:g} mm: is the "
                                 "unit of length right?")



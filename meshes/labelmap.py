"""Label maps from NIfTI files, brought onto a RAS+ grid whose axes are the patient's."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from scipy import ndimage

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.nifti import metres_per_unit
from hifuflow.provenance import file_sha256

OBLIQUE = 1e-3  # off-diagonal part of a column of the affine that still counts as aligned
ROUNDING = 1e-3  # what scaling in the file may leave of a whole number
MOST_VOXELS = 1_000_000_000
LOWEST, HIGHEST = -32768, 32767  # labels
KEY = "anatomy.labels"


@dataclass
class LabelMap:
    """Integer labels (nx, ny, nz) on a RAS+ grid; `affine` maps indices to positions [m]."""

    labels: np.ndarray
    affine: np.ndarray
    sha256: str


def read_label_map(path) -> LabelMap:
    """Read a label map of any axis order, voxel type or orientation.

    The array is permuted and flipped to RAS+; a grid that is oblique to the patient's axes is
    resampled, nearest neighbour, onto an aligned one of the same voxel sizes.

    Raises
    ------
    InputError : the file is corrupt, too large, not three-dimensional, has no orientation or no
        usable affine, or holds values that are not whole numbers in the range of labels.
    """
    path = Path(path)
    try:
        image = nib.load(path)
        _check_header(image, path)
        data = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise InputError(f"not a readable image: {error}", file=path, key=KEY,
                         allowed="a NIfTI label map (.nii, .nii.gz)") from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3 or min(data.shape) < 2:
        raise InputError(f"the image has the shape {data.shape}", file=path, key=KEY,
                         allowed="a three-dimensional image")
    labels = _whole_numbers(data, path)
    affine = _metres(image, path)
    orientation = nib.io_orientation(affine)
    affine = affine @ nib.orientations.inv_ornt_aff(orientation, labels.shape)
    labels = nib.apply_orientation(labels, orientation)
    off_diagonal = affine[:3, :3] - np.diag(np.diag(affine)[:3])
    if np.abs(off_diagonal).max() > OBLIQUE * np.linalg.norm(affine[:3, :3], axis=0).min():
        labels, affine = _resample(labels, affine)
        log.info("%s is oblique: resampled onto an aligned grid %s", path.name, labels.shape)
    else:
        affine[:3, :3] -= off_diagonal
    return LabelMap(labels, affine, file_sha256(path))


def _check_header(image, path):
    """Refuse, before any voxel is read, an absurd size and a map without an orientation."""
    voxels = math.prod(image.shape)
    if voxels > MOST_VOXELS:
        raise InputError(f"the header tells of {voxels} voxels, {image.shape}", file=path, key=KEY,
                         allowed=f"at most {MOST_VOXELS} voxels: crop or coarsen the map")
    if isinstance(image, nib.analyze.AnalyzeImage):  # NIfTI is its descendant
        codes = [int(image.header[name]) for name in ("sform_code", "qform_code")
                 if name in image.header.keys()]
        if not any(codes):
            raise InputError("the header gives no orientation: sform_code and qform_code are 0",
                             file=path, key=KEY,
                             allowed="a NIfTI map whose sform or qform tells left from right; "
                                     "copy it from the scan that the map was drawn on")


def _whole_numbers(data, path):
    """Labels as int32, whatever number type they were stored in."""
    labels = _integers(data, path)
    low, high = labels.min(), labels.max()
    if low < LOWEST or high > HIGHEST:
        raise InputError(f"labels from {low:g} to {high:g}", file=path, key=KEY,
                         allowed=f"labels from {LOWEST} to {HIGHEST}")
    return labels.astype(np.int32)


def _integers(data, path):
    """The voxels' whole numbers in the number type of the file."""
    if data.dtype.kind in "iub":
        return data
    if data.dtype.kind != "f":
        raise InputError(f"voxels of type {data.dtype}", file=path, key=KEY,
                         allowed="whole numbers")
    finite = np.where(np.isfinite(data), data, np.inf)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(finite - np.rint(finite)) <= ROUNDING)
    if wrong.any():
        raise InputError(f"{int(wrong.sum())} voxels are not whole numbers, e.g. "
                         f"{float(data[wrong][0]):g}", file=path, key=KEY,
                         allowed="a label map (whole numbers), not an image")
    return np.rint(data)


def _metres(image, path):
    """The image's affine in metres."""
    affine = np.array(image.affine, float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError("the image's affine is singular", file=path, key=KEY,
                         allowed="an affine that maps voxels to millimetres")
    affine[:3] *= metres_per_unit(image)
    return affine


def _resample(labels, affine):
    """Nearest neighbour onto the smallest aligned grid that holds the oblique one."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in labels.shape]), -1).reshape(-1, 3)
    positions = corners @ affine[:3, :3].T + affine[:3, 3]
    low, high = positions.min(axis=0), positions.max(axis=0)
    shape = np.ceil((high - low) / spacing).astype(int) + 1
    aligned = np.diag([*spacing, 1.0])
    aligned[:3, 3] = low
    back = np.linalg.inv(affine) @ aligned
    return ndimage.affine_transform(labels, back[:3, :3], back[:3, 3], output_shape=tuple(shape),
                                    order=0, mode="constant", cval=0), aligned

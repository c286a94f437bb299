"""Images and label maps in the formats that hospitals and segmentation tools write.

One reader per family of formats; all give the same `Image`: voxels in the file's own order, where
they are in the patient (R, A, S), and the names that the header gives to label values.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InputError
from .side_files import DETACHED, side_files

MOST_VOXELS = 1_000_000_000
LOWEST, HIGHEST = -32768, 32767  # labels
ROUNDING = 1e-3  # what scaling in the file may leave of a whole number
FINEST, COARSEST = 1e-5, 0.05  # voxel edges that a body can be imaged with [m]
NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".mgh", ".mgz")
NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")
DICOM = (".dcm",)
FORMATS = (f"NIfTI {NIFTI[0]} {NIFTI[1]}, NRRD {' '.join(NRRD)} (also .seg.nrrd of 3D Slicer), "
           f"MetaImage {' '.join(META)}, DICOM-SEG {DICOM[0]}")


@dataclass(frozen=True)
class Segment:
    """A label value, its name in the file's header, and its layer (None: in whichever it is)."""

    label: int
    name: str
    layer: int | None = None


@dataclass(frozen=True)
class Image:
    """What a file's header tells; the voxels are read on demand.

    Attributes
    ----------
    file, format : where it is from.
    shape : (3,) voxels along the file's own axes.
    affine : (4, 4), voxel index to patient position (R, A, S) [m].
    read : function that returns the layers, arrays of that shape; a layer more where segments
        overlap.
    segments : named label values.
    codes : the (sform, qform) codes of a NIfTI file.
    key : the configuration's key that named the file, for errors.
    """

    file: Path
    format: str
    shape: tuple
    affine: np.ndarray
    read: Callable[[], list]
    segments: tuple = ()
    codes: tuple = (1, 1)
    key: str | None = None

    @property
    def spacing(self) -> np.ndarray:
        """(3,) voxel edges along the file's own axes [m]."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def layers(self) -> list[np.ndarray]:
        """All layers as they are stored.

        Raises
        ------
        InputError : the voxels cannot be read, are colours or complex, or their file is missing.
        """
        missing = [file.name for file in side_files(self.file) if not os.path.isfile(file)]
        if missing and self.file.suffix.lower() in DETACHED:
            raise InputError(f"the file with its voxels is missing: {missing[0]}", file=self.file,
                             key=self.key, allowed="the header together with its data")
        try:
            layers = self.read()
        except InputError:
            raise
        except (OSError, EOFError, ValueError, RuntimeError, MemoryError, zlib.error) as error:
            raise unreadable(error, self.file, self.key) from error
        if layers[0].dtype.kind not in "iubf":
            raise InputError(f"voxels of type {layers[0].dtype}", file=self.file, key=self.key,
                             allowed="one real number a voxel")
        return layers

    def labels(self) -> list[np.ndarray]:
        """All layers as int32 labels, whatever number type they were stored in.

        Raises
        ------
        InputError : the voxels cannot be read, are not whole numbers in the range of labels, or
            are all 0.
        """
        layers = [_whole_numbers(layer, self.file, self.key) for layer in self.layers()]
        if not any(layer.any() for layer in layers):
            raise InputError(f"the label map is empty: all its {layers[0].size} voxels are 0",
                             file=self.file, key=self.key,
                             allowed="a segmentation with labels other than 0, the outside")
        return layers


def open_image(path, key: str | None = None) -> Image:
    """Read the header of an image or label map; `key` is the configuration's key for errors.

    Raises
    ------
    InputError : the file is corrupt, of an unknown kind, too large, not three-dimensional, has no
        orientation or no usable affine.
    """
    # The readers are loaded with the first file of their kind: some of their libraries are slow.
    path = Path(path)
    if path.is_dir():
        from .itk import open_series as reader
    elif _has_suffix(path, NRRD + META):
        from .itk import open_itk as reader
    elif _has_suffix(path, DICOM) or _is_dicom(path):
        from .dicom_seg import open_dicom_seg as reader
    elif _has_suffix(path, NIFTI):
        from .nifti import open_nifti as reader
    else:
        raise InputError("not a known kind of image", file=path, key=key, allowed=FORMATS)
    image = reader(path, key)
    _check(image)
    return image


def unreadable(error, path, key) -> InputError:
    """The one error for a file that a library gives up on."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(f"not a readable image: {lines[-1].strip()}", file=path, key=key,
                      allowed=FORMATS)


def _has_suffix(path, suffixes) -> bool:
    return path.name.lower().endswith(suffixes)


def _is_dicom(path) -> bool:
    """DICOM files often have no suffix; `DICM` stands after a preamble of 128 bytes."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


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


def _whole_numbers(data, path, key):
    """Labels as int32, whatever number type they were stored in."""
    labels = _integers(data, path, key)
    low, high = labels.min(), labels.max()
    if low < LOWEST or high > HIGHEST:
        raise InputError(f"labels from {low:g} to {high:g}", file=path, key=key,
                         allowed=f"labels from {LOWEST} to {HIGHEST}")
    return labels.astype(np.int32)


def _integers(data, path, key):
    """The voxels' whole numbers in the number type of the file."""
    if data.dtype.kind in "iub":
        return data
    finite = np.where(np.isfinite(data), data, np.inf)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(finite - np.rint(finite)) <= ROUNDING)
    if wrong.any():
        raise InputError(f"{int(wrong.sum())} voxels are not whole numbers, e.g. "
                         f"{float(data[wrong][0]):g}", file=path, key=key,
                         allowed="a label map (whole numbers); an image goes into anatomy.image, "
                                 "with thresholds")
    return np.rint(data)

"""An image or label map of any format: what its header tells, its voxels on demand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError

from .side_files import DETACHED, side_files

LOWEST, HIGHEST = -32768, 32767  # labels
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ROUNDING = 1e-3  # what scaling in the file may leave of a whole number
NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".mgh", ".mgz")
NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")
DICOM = (".dcm",)
FORMATS = (f"NIfTI {NIFTI[0]} {NIFTI[1]}, FreeSurfer {NIFTI[-1]}, NRRD {' '.join(NRRD)} (also "
           f".seg.nrrd of 3D Slicer), MetaImage {' '.join(META)}, DICOM-SEG, RTSTRUCT or enhanced "
           f"multi-frame {DICOM[0]}, a folder with one DICOM series")


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
    record : what was found in the header and decided, for `regions.json`.
    sparse : the file leaves out what is empty, and does not tell how far the scan reaches.
    """

    file: Path
    format: str
    shape: tuple
    affine: np.ndarray
    read: Callable[[], list]
    segments: tuple = ()
    codes: tuple = (1, 1)
    key: str | None = None
    record: dict = field(default_factory=dict)
    sparse: bool = False

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
        except (OSError, EOFError, ValueError, RuntimeError, MemoryError) as error:
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


def is_dicom(path) -> bool:
    """DICOM files often have no suffix; `DICM` stands after a preamble of 128 bytes."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def unreadable(error, path, key) -> InputError:
    """The one error for a file that a library gives up on."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(f"not a readable image: {lines[-1].strip()}", file=path, key=key,
                      allowed=FORMATS)


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

"""The workflow's own `.nii.gz` files, read to the checksum at their end."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from hifuflow.errors import DamagedFile

UNREADABLE = (OSError, EOFError, ValueError, struct.error, zlib.error, ImageFileError,
              HeaderDataError)


def read_packed_nifti(path) -> nib.Nifti1Image:
    """The image, in memory. nibabel itself stops before the checksum and never compares it.

    Raises
    ------
    DamagedFile : it is not what was written.
    """
    packed = Path(path).read_bytes()
    try:
        return nib.Nifti1Image.from_bytes(gzip.decompress(packed))
    except UNREADABLE as error:
        raise DamagedFile(path, str(error) or type(error).__name__) from error

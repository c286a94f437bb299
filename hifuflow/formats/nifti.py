"""NIfTI (and its ancestors) and FreeSurfer's MGH through nibabel."""

from __future__ import annotations

import logging
import math
import os
import re
import zlib
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError

from hifuflow.errors import InputError

from .compressed import compression, inflated
from .image import Image, Segment, unreadable
from .nifti_place import place

MGH = nib.freesurfer.MGHImage
FOOTER = 1 << 26  # bytes of text that may follow the voxels of an MGH file
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what it repairs is refused here


def open_nifti(path, key, transform: str = "auto") -> Image:
    """Header of a NIfTI or MGH file; see `formats.images.open_image`.

    Label names come from the label table that Connectome Workbench defined as a header extension
    (TotalSegmentator writes it).

    Parameters
    ----------
    transform : which of a NIfTI header's two transforms counts; see `formats.nifti_place.place`.
    """
    fault = {"file": path, "key": key}
    try:
        image = nib.load(path)
        if isinstance(image, MGH):
            affine, codes, record = _mgh_affine(image, fault), (1, 1), {}
        else:
            affine, codes, record = place(image, _stored_header(image), transform, fault)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise unreadable(error, path, key) from error
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return Image(path, "MGH" if isinstance(image, MGH) else "NIfTI", shape, affine,
                 lambda: [_voxels(image, fault).reshape(shape)], _names(image), codes, key,
                 record=record)


def _mgh_affine(image, fault):
    """FreeSurfer: without its flag the header's size and direction of voxels do not count."""
    with image.file_map["image"].get_prepare_fileobj("rb") as stream:
        flag = int.from_bytes(stream.read(30)[28:], "big", signed=True)
    if flag <= 0:
        raise InputError("the header gives no orientation and no voxel size: its goodRASFlag is "
                         f"{flag}", **fault,
                         allowed="a file whose header tells left from right; save it again with "
                                 "the scan that it was drawn on")
    affine = np.array(image.affine, float)
    affine[:3] *= 1e-3
    return affine


def _stored_header(image):
    """The header as it is stored, before nibabel repairs it."""
    holder = image.file_map.get("header", image.file_map["image"])
    with holder.get_prepare_fileobj("rb") as stream:
        return type(image.header).from_fileobj(stream, check=False)


def _voxels(image, fault):
    """The voxels, scaled; of a compressed file every byte is verified first."""
    proxy, file = image.dataobj, Path(image.file_map["image"].filename)
    size = proxy.offset + math.prod(proxy.shape) * proxy.dtype.itemsize
    slice_bytes = math.prod(proxy.shape[:2]) * proxy.dtype.itemsize
    most = size + (FOOTER if isinstance(image, MGH) else max(slice_bytes - 1, 0))
    kind = compression(file)
    if kind is None:
        if os.path.getsize(file) > most:
            raise InputError(f"has {os.path.getsize(file)} bytes where its header tells of {size}",
                             **fault, allowed="voxels that fit their header")
        return np.asarray(proxy)
    with open(file, "rb") as stream:
        content = inflated(stream, kind, most, fault)
    holders = {**image.file_map, "image": FileHolder(fileobj=BytesIO(content))}
    return np.asarray(type(image).from_file_map(holders).dataobj)


def _names(image) -> tuple:
    """Label table of a header extension, if there is one that can be read."""
    for extension in getattr(image.header, "extensions", ()):
        content = extension.get_content()
        text = content if isinstance(content, str) else bytes(content).decode("utf-8", "replace")
        table = re.search(r"<LabelTable>.*?</LabelTable>", text, re.DOTALL)
        if table:
            try:
                labels = ElementTree.fromstring(table[0]).iter("Label")
                return tuple(Segment(int(entry.get("Key")), entry.text.strip())
                             for entry in labels if entry.text and entry.text.strip())
            except (ElementTree.ParseError, TypeError, ValueError):
                continue
    return ()

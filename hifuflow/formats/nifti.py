"""NIfTI (and its ancestors) through nibabel."""

from __future__ import annotations

import re
import zlib
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from hifuflow.errors import InputError

from .image import Image, Segment, unreadable

METRES_PER_UNIT = {"meter": 1.0, "micron": 1e-6}  # anything else, "unknown" included, is mm


def open_nifti(path, key) -> Image:
    """Header of a NIfTI file; see `formats.images.open_image`.

    Label names come from the label table that Connectome Workbench defined as a header extension
    (TotalSegmentator writes it).
    """
    try:
        image = nib.load(path)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise unreadable(error, path, key) from error
    codes = (1, 1)
    if isinstance(image, nib.analyze.AnalyzeImage):  # NIfTI is its descendant
        codes = tuple(int(image.header[name]) for name in ("sform_code", "qform_code")
                      if name in image.header.keys())
        if not any(codes):
            raise InputError("the header gives no orientation: sform_code and qform_code are 0",
                             file=path, key=key,
                             allowed="a NIfTI map whose sform or qform tells left from right; "
                                     "copy it from the scan that the map was drawn on")
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = np.array(image.affine, float)
    affine[:3] *= metres_per_unit(image)
    return Image(path, "NIfTI", shape, affine,
                 lambda: [np.asarray(image.dataobj).reshape(shape)], _names(image), codes, key)


def metres_per_unit(image) -> float:
    """Length [m] of one unit of a nibabel image's affine, by its header's `xyzt_units`."""
    units = getattr(image.header, "get_xyzt_units", lambda: ("mm", "sec"))()[0]
    return METRES_PER_UNIT.get(units, 1e-3)


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

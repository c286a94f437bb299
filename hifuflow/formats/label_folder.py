"""A folder as a segmentation: one file per organ, or a DICOM segmentation beside its scan."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .image import DICOM, META, NIFTI, NRRD, Image, is_dicom, unreadable
from .images import open_image
from .side_files import SEGMENTATIONS, STRUCTURES, holds_series
from .surface_file import SURFACES

MOST_NAMED = 4
MAPS = (*NIFTI, *NRRD, *META)
ON_GRID = 0.1  # voxels that a segmentation may lie beside its scan's voxels


def open_labels(path, key: str | None = None, nifti_transform: str = "auto") -> Image:
    """Read the header of a segmentation, which may be a folder.

    A folder holds either one label map per organ, called as the organ, or DICOM files: one
    DICOM-SEG or RTSTRUCT, alone or with the one series that it was drawn on, whose grid it gets.
    Any other path, and a DICOM series alone, is read by `formats.images.open_image`.

    Raises
    ------
    InputError : the folder holds several of these, or none; what the readers refuse.
    """
    path = Path(path)
    if not path.is_dir():
        return open_image(path, key, nifti_transform)
    try:
        maps, dicom, surfaces, others = folder_content(path)
    except OSError as error:
        raise unreadable(error, path, key) from error
    fault = {"file": path, "key": key}
    if sum(map(bool, (maps, dicom, surfaces))) > 1:
        raise InputError("the folder holds " + " and ".join(
            f"{kind} ({_listed(files)})" for kind, files in (
                ("label maps", maps), ("DICOM files", dicom), ("surfaces", surfaces)) if files),
            **fault, allowed="files of one kind; or the path of one file")
    if surfaces:
        raise InputError(f"the folder holds surfaces ({_listed(surfaces)})", **fault,
                         allowed="label maps; surfaces go into anatomy.surfaces")
    if others and maps:
        log.info("%s: left out, since they are no label maps: %s", path, _listed(others))
    if maps:
        from .organ_files import open_organs
        return open_organs(path, maps, key, partial(open_image, nifti_transform=nifti_transform))
    if not dicom:
        raise InputError("the folder holds no label map and no DICOM file", **fault,
                         allowed="one label map per organ, or a DICOM-SEG or RTSTRUCT beside its "
                                 "series")
    return _beside_scan(path, key)


def open_grid(path, nifti_transform: str = "auto") -> Image:
    """Image on whose grid results about a patient stand: of a folder with a DICOM series that."""
    path = Path(path)
    return open_image(path) if holds_series(path) else open_labels(path, None, nifti_transform)


def folder_content(path):
    """Label maps, DICOM files, surfaces and all other files of a folder, four lists."""
    maps, dicom, surfaces, others = [], [], [], []
    for file in sorted(entry for entry in path.iterdir()
                       if entry.is_file() and not entry.name.startswith(".")):
        name = file.name.lower()
        if name.endswith(MAPS):
            maps.append(file)
        elif name.endswith(SURFACES):
            surfaces.append(file)
        elif name.endswith((*DICOM, ".ima")) or is_dicom(file):
            dicom.append(file)
        else:
            others.append(file)
    return maps, dicom, surfaces, others


def _listed(files) -> str:
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return ", ".join(file.name for file in files[:MOST_NAMED]) + more


def _beside_scan(path, key) -> Image:
    """The one segmentation among DICOM files, on the grid of the series beside it."""
    from .dicom_frames import understood
    from .dicom_series import read_folder

    found = read_folder(path, key)
    with understood(path, key):
        return _placed(path, found, key)


def _placed(path, found, key) -> Image:
    """The one segmentation of these (file, header) pairs on the grid of their series."""
    from .dicom_contours import open_contours
    from .dicom_seg import open_dicom_seg
    from .dicom_series import is_image, slices_of, volume

    drawn = [(file, header) for file, header in found if header.SOPClassUID in SEGMENTATIONS]
    if not drawn:
        return volume(path, slices_of(path, found, key), key)
    if len(drawn) > 1:
        raise InputError(f"the folder holds {len(drawn)} segmentations: "
                         f"{_listed([file for file, _ in drawn])}", file=path, key=key,
                         allowed="one of them beside its series, or the path of one file")
    (file, header), = drawn
    scan, images = None, [one for _, one in found if is_image(one)]
    if images:
        scan = volume(path, slices_of(path, found, key), key)
        _check_frame(header, images, file, path, key)
    if header.SOPClassUID == STRUCTURES:
        return replace(open_contours(file, header, key, scan), file=path)
    image = open_dicom_seg(file, header, key)
    return replace(image if scan is None else on_scan(image, scan), file=path)


def _check_frame(header, images, file, path, key) -> None:
    """A segmentation and the series beside it are of one examination."""
    own = _frames(header)
    theirs = {str(one.get("FrameOfReferenceUID", "")) for one in images}
    if own and theirs - {""} and not own & theirs:
        raise InputError(f"{file.name} is of another frame of reference than the series beside it",
                         file=path, key=key, allowed="a segmentation with the series that it was "
                                                     "drawn on; or the path of the file alone")


def _frames(header) -> set:
    """Frames of reference that a segmentation says it is in."""
    held = [header, *(header.get("ReferencedFrameOfReferenceSequence") or []),
            *(header.get("StructureSetROISequence") or [])]
    uids = {str(item.get(name, "")) for item in held
            for name in ("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID")}
    return uids - {""}


def on_scan(image: Image, scan: Image) -> Image:
    """A segmentation with as much background as its scan has around it.

    One on another grid than the scan's stays on its own.

    Raises
    ------
    InputError : it reaches beyond the scan.
    """
    back = np.linalg.inv(scan.affine) @ image.affine
    shape = np.array(image.shape)
    corners = np.array(list(np.ndindex(2, 2, 2))) * (shape - 1)
    there = corners @ back[:3, :3].T + back[:3, 3]
    offset = np.rint(back[:3, 3]).astype(int)
    if np.abs(there - corners - offset).max() > ON_GRID:
        log.info("%s: on another grid than the series beside it, and stays on it", image.file)
        return image
    behind = np.array(scan.shape) - shape - offset
    if min(*offset, *behind) < 0:
        raise InputError("reaches beyond the series beside it", file=image.file, key=image.key,
                         allowed="a segmentation with the whole series that it was drawn on")
    padding = np.column_stack([offset, behind])

    def read():
        return [np.pad(layer, padding) for layer in image.read()]

    return replace(image, shape=scan.shape, affine=scan.affine, read=read, sparse=False)

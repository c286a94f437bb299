"""A folder with one file per organ, as TotalSegmentator writes it: `liver.nii.gz`, ..."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .image import Image, Segment
from .layers import Piece, packed
from .side_files import side_files

SAME = 1e-3  # voxels by which corners of two files' grids may differ
MOST_NAMED = 8  # files in a message
SUFFIXES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".mgz",
            ".mgh")


def organ_name(file) -> str:
    """The organ's name: the file's without its ending."""
    name = Path(file).name
    ending = next((one for one in SUFFIXES if name.lower().endswith(one)), Path(name).suffix)
    return name[:len(name) - len(ending)]


def open_organs(folder, files: list[Path], key, open_one) -> Image:
    """The organs of a folder as segments of one map; what overlaps stands in further layers.

    An organ's label is its place among the files' names, from 1. A file without a voxel is a
    segment without a voxel.

    Parameters
    ----------
    files : label maps, one for each organ.
    open_one : function of a path and a key that reads the header of one of them.

    Raises
    ------
    InputError : two files of one name, files on different grids, a file of several labels.
    """
    fault = {"file": folder, "key": key}
    parts = {file for one in files for file in side_files(one)}  # halves of pairs, voxels
    files = sorted(file for file in files if file not in parts or file.suffix == ".hdr")
    names = [organ_name(file) for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"several files for one organ: {_listed(twice)}", **fault,
                         allowed="one file per organ, called as the organ")
    images = [open_one(file, key) for file in files]
    first = images[0]
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(first.shape) - 1)
    odd = [image.file.name for image in images if not _same_grid(first, image, corners)]
    if odd:
        raise InputError(f"its files are not on one grid: {_listed(odd)} differ from "
                         f"{first.file.name}", **fault,
                         allowed="masks of one scan, all with its size, place and orientation")

    def read():
        return packed((_mask(image, number, key)
                       for number, image in enumerate(images, 1)), first.shape)

    segments = tuple(Segment(number, name) for number, name in enumerate(names, 1))
    log.info("%s: one file per organ, %d of them", folder, len(files))
    return Image(Path(folder), f"folder of {first.format} masks", first.shape, first.affine, read,
                 segments, first.codes, key, record={"files": len(files)},
                 sparse=any(image.sparse for image in images))


def _same_grid(first, other, corners) -> bool:
    if first.shape != other.shape:
        return False
    back = np.linalg.inv(first.affine) @ other.affine
    there = corners @ back[:3, :3].T + back[:3, 3]
    return bool(np.abs(there - corners).max() <= SAME)


def _mask(image, number, key) -> Piece | None:
    """The one structure of a file."""
    layers = image.layers()
    values = np.unique(np.concatenate([np.unique(layer) for layer in layers]))
    inside = values[values != 0]
    if len(layers) > 1 or len(inside) > 1:
        raise InputError(f"holds {len(inside)} labels ({_listed([f'{v:g}' for v in inside])}), and "
                         "lies among files of one organ each", file=image.file, key=key,
                         allowed="masks with one value beside 0; a map of several labels is named "
                                 "itself, not its folder")
    return Piece.of(number, layers[0] != 0)


def _listed(names) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more

"""What a segmentation of any kind is to a patient file: its lines in it, and its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifuflow.anatomy.labelmap import LabelMap
from hifuflow.anatomy.mesh_map import read_mesh_map
from hifuflow.anatomy.source_settings import MeshMapSettings, SurfaceSettings
from hifuflow.anatomy.surface_map import read_surface_map
from hifuflow.errors import InputError
from hifuflow.formats.image import Image
from hifuflow.formats.label_folder import folder_content, open_labels
from hifuflow.formats.mesh_file import FORMATS as MESHES
from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.formats.surface_file import SURFACES, read_surfaces, surface_files
from hifuflow.settings import Written

from .inspect_labels import by_name, label_rows

VOXEL_SIZES_MM = (1, 0.5, 0.25)  # the first in which no region is lost
UNITS = (("m", 0, 2.2), ("cm", 2.2, 10), ("mm", 10, np.inf))  # by the longest edge in the file


@dataclass(frozen=True)
class Segmentation:
    """A segmentation for a patient file.

    Attributes
    ----------
    keys : of the section `anatomy`, key -> value or subsection.
    rows : see `inspect_labels.label_rows`.
    layered : whether its segments overlap.
    by_name : whether labels are told by their names rather than their values.
    """

    keys: dict
    rows: list
    layered: bool
    by_name: bool = False


def look_at(path: Path, written: str) -> Segmentation:
    """Read a label map, a folder of them, a structure set, surfaces or a mesh.

    Parameters
    ----------
    written : the path as it stands in the patient file.

    Raises
    ------
    InputError : it is none of these, or cannot be read.
    """
    if path.name.lower().endswith(MESHES):
        mesh = read_mesh_file(path)
        return _voxels("mesh", "file", path, written, mesh.points[mesh.cells], lambda section:
                       read_mesh_map(MeshMapSettings.read(section)), {"axes": "RAS"})
    if _holds_surfaces(path):
        surfaces = read_surfaces(surface_files(path))
        corners = np.concatenate([one.points[one.triangles].reshape(-1, 3) for one in surfaces])
        return _voxels("surfaces", "path", path, written, corners, lambda section:
                       read_surface_map(SurfaceSettings.read(section)), {"axes": "auto"})
    image = open_labels(path)
    maps = image.labels()
    return Segmentation({"labels": written}, label_rows(image, maps), len(maps) > 1,
                        by_name(image))


def _holds_surfaces(path: Path) -> bool:
    if path.is_file():
        return path.name.lower().endswith(SURFACES)
    maps, dicom, surfaces, _ = folder_content(path)
    return bool(surfaces) and not maps and not dicom


def _voxels(kind: str, key: str, path: Path, written: str, corners, read: Callable,
            defaults: dict) -> Segmentation:
    """What is turned into a label map before it has labels."""
    longest = np.ptp(corners.reshape(-1, 3), axis=0).max()
    unit = next(name for name, low, high in UNITS if low <= longest < high)
    unit = "mm" if (kind, unit) == ("mesh", "cm") else unit
    for size in VOXEL_SIZES_MM:
        keys = {key: str(path), "unit": unit, **defaults, "voxel_size_mm": size}
        try:
            found = read(Written("", f"anatomy.{kind}", keys))
            break
        except InputError as error:
            if "holds no voxel's centre" not in error.problem or size == VOXEL_SIZES_MM[-1]:
                raise
    keys = {key: written, **({"unit": unit} if unit != "mm" else {}),
            **({"voxel_size_mm": size} if size != VOXEL_SIZES_MM[0] else {})}
    named = kind == "surfaces" or len(found.segments) > 0
    return Segmentation({kind: keys}, label_rows(_image(path, found), found.layers),
                        len(found.layers) > 1, named)


def _image(path: Path, source: LabelMap) -> Image:
    """A label map as the image that it could have been read from."""
    return Image(path, str(source.record["format"]), source.layers[0].shape, source.affine,
                 lambda: source.layers, source.segments)

"""Description of files as text: artifacts of the workflow, label maps, scans and meshes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np

from hifuflow.errors import InputError
from hifuflow.formats.hdf5 import check_text
from hifuflow.formats.image import FORMATS
from hifuflow.formats.label_folder import open_labels
from hifuflow.formats.mesh_file import FORMATS as MESHES
from hifuflow.formats.mesh_file import read_mesh_file
from hifuflow.formats.surface_file import SURFACES, read_surfaces
from hifuflow.job import read_json
from hifuflow.numerics.tetrahedra import cell_quality, signed_volumes, smallest_dihedral
from hifuflow.records.mesh import check_mesh

from .inspect_labels import label_table


def describe(path, quality_table: Callable) -> str:
    """Description of one file as text.

    Parameters
    ----------
    quality_table : function of points (n, 3) and cells (m, 4) that describes their quality in lines
        of text.

    Raises
    ------
    InputError : there is no such file, or it is of no kind that the workflow writes or reads.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no such file", file=path)
    size = "" if path.is_dir() else f"  ({path.stat().st_size / 1e6:.2f} MB)"
    if path.name.endswith((".h5", ".vtkhdf")):
        lines = _read(_hdf5, path)
    elif path.name.endswith(".json"):
        lines = _read(_json, path)
    elif path.name.lower().endswith(MESHES):
        lines = _mesh(path, quality_table)
    elif path.name.lower().endswith(SURFACES):
        lines = _surface(path)
    else:
        lines = _image(path)
    return "\n".join([f"{path}{size}", *lines])


def _read(reader, path):
    try:
        return list(reader(path))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read: {error}", file=path) from error


def _hdf5(path):
    with h5py.File(path, "r") as file:
        check_text(file)
        for key, value in file.attrs.items():
            yield f"  {key}: {value}"
        rows = []
        _walk(file, rows)
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    for row in rows:
        columns = [text.ljust(width) for text, width in zip(row[:3], widths, strict=True)]
        yield "  " + "  ".join([*columns, row[3]])


def _walk(group, rows) -> None:
    for name in group:
        item, label = group[name], group[name].name.lstrip("/")
        units, text = item.attrs.get("units", ""), item.attrs.get("description", "")
        if isinstance(item, h5py.Dataset):
            rows.append((label, f"{_shape(item.shape)} {_kind(item)}", f"[{units}]", text))
        elif "indptr" in item:
            filled = f"{_shape(item.attrs['shape'])} sparse, {item['data'].size} values"
            rows.append((label, filled, f"[{units}]", text))
        else:
            _walk(item, rows)


def _shape(shape) -> str:
    return " x ".join(str(int(n)) for n in shape) or "scalar"


def _kind(dataset) -> str:
    return "text" if h5py.check_string_dtype(dataset.dtype) else str(dataset.dtype)


def _json(path):
    for line in json.dumps(_shorten(read_json(path)), indent=2).splitlines():
        yield "  " + line


def _shorten(value):
    """Long lists become their length and first entry."""
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > 6:
        return f"list of {len(value)}, first {_shorten(value[0])}"
    return value


def _image(path):
    try:
        image = open_labels(path)
    except InputError as error:
        if error.problem != "not a known kind of image":
            raise
        kinds = f".h5, .vtkhdf, .json, {', '.join((*MESHES, *SURFACES))}, {FORMATS}"
        raise InputError(error.problem, file=path, allowed=kinds) from error
    layers = image.layers()
    edges = " x ".join(f"{edge * 1e3:.4g}" for edge in image.spacing)
    corners = np.array([[0, 0, 0], [n - 1 for n in image.shape]]) @ image.affine[:3, :3].T
    low, high = np.sort((corners + image.affine[:3, 3]) * 1e3, axis=0)
    extent = "; ".join(f"{name} {a:.1f} to {b:.1f}"
                       for name, a, b in zip("RAS", low, high, strict=True))
    yield f"  {image.format}, shape {_shape(image.shape)}, {layers[0].dtype}" + (
        f", {len(layers)} layers" if len(layers) > 1 else "")
    yield f"  voxel {edges} mm, axes {','.join(nib.aff2axcodes(image.affine))}"
    yield f"  opposite corners [mm]: {extent}"
    yield from label_table(image, layers)


def _surface(path):
    surface, = read_surfaces([path])
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    corners = surface.points[surface.triangles] - low
    volume = np.abs(np.bincount(surface.shell, np.linalg.det(corners) / 6))
    axes = f", axes {surface.axes}" if surface.axes else ""
    yield (f"  a closed surface, {len(surface.triangles)} triangles, from "
           f"{low.round(3).tolist()} to {high.round(3).tolist()}{axes}")
    yield (f"  {len(volume)} connected shells; the largest enclose (cube of the file's unit of "
           "length): " + ", ".join(f"{one:.6g}" for one in np.sort(volume)[:-6:-1]))


def _mesh(path, quality_table):
    mesh = read_mesh_file(check_mesh(path))
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    yield (f"  {len(mesh.points)} points, from {low.round(6).tolist()} to "
           f"{high.round(6).tolist()}, {len(mesh.cells)} tetrahedra")
    yield "  tag  cells  volume (cube of the file's unit of length)  name"
    volume = np.abs(signed_volumes(mesh.points[mesh.cells]))
    for tag in np.unique(np.concatenate(mesh.layers)):
        inside = np.any([layer == tag for layer in mesh.layers], axis=0)
        if tag == 0 and len(mesh.layers) > 1:
            continue  # of a layer: a cell that is in no second group
        yield (f"  {tag:3d}  {inside.sum():5d}  {volume[inside].sum():.6g}  "
               f"{mesh.names.get(int(tag), '')}")
    for name in np.unique(mesh.facet_names):
        yield f"  {(mesh.facet_names == name).sum()} facets {name or 'without a name'}"
    yield from ("  " + line for line in quality_table(mesh.points, mesh.cells))
    record = path.with_suffix(".json")
    if record.is_file():
        yield f"  quality and volumes ({record.name}):"
        yield from ("  " + line for line in _json(record))


def quality_table(points, cells) -> list[str]:
    """Inverted cells, dihedral angles and radius ratios of a mesh, in lines of text."""
    angle, ratio = smallest_dihedral(points, cells), cell_quality(points, cells)
    lines = [f"quality, {int((angle <= 0).sum())} cells inverted:  smallest      1 %     median"]
    for name, values in (("smallest dihedral angle, deg", angle), ("radius ratio", ratio)):
        numbers = (values.min(), *np.percentile(values, (1, 50)))
        lines.append(f"{name:28}" + "".join(f" {number:9.3f}" for number in numbers))
    return lines

"""What an artifact holds, in text: shapes, units, provenance."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np

from .errors import InputError


def describe(path) -> str:
    """Text about one artifact.

    Raises
    ------
    InputError : no such file, or not of a kind that the workflow writes.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", file=path)
    for suffix, reader in _READERS.items():
        if path.name.endswith(suffix):
            try:
                return "\n".join([f"{path}  ({path.stat().st_size / 1e6:.2f} MB)", *reader(path)])
            except (OSError, ValueError, KeyError, nib.filebasedimages.ImageFileError) as error:
                raise InputError(f"cannot be read: {error}", file=path) from error
    raise InputError("is not an artifact of this workflow", file=path, allowed=", ".join(_READERS))


def _hdf5(path):
    with h5py.File(path, "r") as file:
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
    for line in json.dumps(_shorten(json.loads(path.read_text())), indent=2).splitlines():
        yield "  " + line


def _shorten(value):
    """Long lists become their length and first entry."""
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > 6:
        return f"list of {len(value)}, first {_shorten(value[0])}"
    return value


def _nifti(path):
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    yield f"  shape {_shape(image.shape)}, {image.get_data_dtype()}"
    yield "  voxel " + " x ".join(f"{z:g}" for z in image.header.get_zooms()[:3]) + " mm"
    yield "  axes " + ",".join(nib.aff2axcodes(image.affine))
    yield "  affine [mm] " + json.dumps(image.affine.round(6).tolist())
    values, counts = np.unique(data, return_counts=True)
    if len(values) <= 40:
        yield "  value: voxels  " + ", ".join(
            f"{value:g}: {count}" for value, count in zip(values, counts, strict=True))
    else:
        yield f"  values from {values[0]:g} to {values[-1]:g}"


def _mesh(path):
    import meshio  # slow to load, needed for meshes only

    mesh = meshio.read(path)
    names = {(dim, tag): name for name, (tag, dim) in mesh.field_data.items()}
    yield f"  {len(mesh.points)} points, from {mesh.points.min(0)} to {mesh.points.max(0)} m"
    for block, tags in zip(mesh.cells, mesh.cell_data.get("gmsh:physical", []), strict=False):
        for tag in np.unique(tags):
            name = names.get((block.dim, tag), str(tag))
            yield f"  {name}: {int((tags == tag).sum())} of kind {block.type}"
    record = path.with_suffix(".json")
    if record.is_file():
        yield f"  quality and volumes ({record.name}):"
        yield from ("  " + line for line in _json(record))


_READERS = {".h5": _hdf5, ".json": _json, ".nii.gz": _nifti, ".nii": _nifti, ".msh": _mesh}

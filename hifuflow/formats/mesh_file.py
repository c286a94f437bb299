"""Tetrahedral meshes in the formats of Gmsh, VTK and XDMF, through meshio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError

FORMATS = (".msh", ".vtu", ".vtk", ".xdmf")
PHYSICAL = "gmsh:physical"
IGNORED = ("triangle", "triangle6", "line", "line3", "vertex")


@dataclass(frozen=True)
class MeshFile:
    """Tetrahedra with their region tags, in the file's own unit and axes.

    Attributes
    ----------
    points : (n, 3).  cells : (m, 4).  tags : (m,) int, region of each cell.
    names : tag -> name of the region, where the file has names.
    facets : (k, 3) triangles.  facet_names : (k,) names of their groups, "" without one.
    """

    points: np.ndarray
    cells: np.ndarray
    tags: np.ndarray
    names: dict
    facets: np.ndarray
    facet_names: np.ndarray


def read_mesh_file(path, tags: str | None = None, key: str | None = None) -> MeshFile:
    """Read a mesh; the cells of second order count as straight.

    Parameters
    ----------
    tags : name of the cell data that hold the regions; None: Gmsh's physical groups, or the only
        cell data of whole numbers.
    key : the configuration's key for errors.

    Raises
    ------
    InputError : the file cannot be read, has cells other than tetrahedra or no region tags.
    """
    import meshio  # slow to load, needed for meshes only

    path = Path(path)
    fault = {"file": path, "key": key}
    # Not `meshio.read`: it ends the process when it cannot read a file.
    readers = {".msh": meshio.gmsh.read, ".vtu": meshio.vtu.read, ".vtk": meshio.vtk.read,
               ".xdmf": meshio.xdmf.read}
    if path.suffix.lower() not in readers:
        raise InputError("not a known kind of mesh", **fault, allowed=", ".join(readers))
    try:
        mesh = readers[path.suffix.lower()](str(path))
    except Exception as error:  # meshio lets through whatever its parsers stumble over
        raise InputError(f"not a readable mesh: {str(error) or type(error).__name__}", **fault,
                         allowed="a file in the format of its suffix") from error
    other = sorted({block.type for block in mesh.cells} - {"tetra", "tetra10", *IGNORED})
    solid = [i for i, block in enumerate(mesh.cells) if block.type in ("tetra", "tetra10")]
    if other or not solid:
        raise InputError(f"has cells of kind {', '.join(other)}" if other
                         else "has no tetrahedra", **fault, allowed="a mesh of tetrahedra")
    values, name = _region_tags(mesh, solid, tags, fault)
    points = np.zeros((len(mesh.points), 3))
    points[:, :mesh.points.shape[1]] = mesh.points
    cells = np.concatenate([mesh.cells[i].data[:, :4] for i in solid]).astype(np.int64)
    if not np.isfinite(points).all() or cells.min() < 0 or cells.max() >= len(points):
        raise InputError("holds points that are not finite, or cells of points that do not exist",
                         **fault, allowed="a complete mesh")
    group = {(dim, tag): text for text, (tag, dim) in mesh.field_data.items()}
    names = {int(tag): text for (dim, tag), text in group.items()
             if dim == 3 and name == PHYSICAL}
    flat = [i for i, block in enumerate(mesh.cells) if block.type in ("triangle", "triangle6")]
    facets = [mesh.cells[i].data[:, :3] for i in flat]
    of_facet = [group.get((2, tag), "") for i in flat
                for tag in mesh.cell_data.get(PHYSICAL, {i: np.zeros(len(mesh.cells[i].data))})[i]]
    return MeshFile(points, cells, values, names,
                    np.concatenate(facets) if facets else np.empty((0, 3), int),
                    np.array(of_facet, dtype=str))


def _region_tags(mesh, solid, wanted, fault):
    """(m,) whole numbers and the name of the cell data they are from."""
    held = {name: np.concatenate([np.asarray(parts[i]) for i in solid])
            for name, parts in mesh.cell_data.items()}
    whole = {name: np.rint(values).astype(np.int64) for name, values in held.items()
             if values.ndim == 1 and np.isfinite(values).all()
             and (values == np.rint(values)).all()}
    usable = [name for name in whole if name != "gmsh:geometrical"]
    name = wanted or (PHYSICAL if PHYSICAL in whole else usable[0] if len(usable) == 1 else None)
    if name not in whole:
        problem = "no such cell data of whole numbers" if wanted else (
            "does not say which cell data hold the regions" if usable else
            "has no region tags: no cell data of whole numbers")
        raise InputError(problem, **fault, value=wanted,
                         allowed="physical groups, or in anatomy.mesh.tags one of: "
                                 + (", ".join(usable) or "(the mesh has none)"))
    return whole[name], name



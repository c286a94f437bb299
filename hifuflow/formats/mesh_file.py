"""Tetrahedral meshes in the formats of Gmsh, VTK and XDMF."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError
from hifuflow.job import log

from .curved import divided, divided_facets
from .mesh_parts import Parts

FORMATS = (".msh", ".vtu", ".vtk", ".xdmf")
FOLDED = "second-order cells fold over themselves"


@dataclass(frozen=True)
class MeshFile:
    """Straight tetrahedra with their region tags, in the file's own unit and axes.

    Attributes
    ----------
    points : (n, 3).  cells : (m, 4).
    layers : arrays (m,) int, region of each cell; 0 is none. More than one where a cell is in
        several groups.
    names : tag -> name of the region, where the file has names.
    facets : (k, 3) triangles.  facet_names : (k,) names of their groups, "" without one; a
        triangle in several groups stands once for each.
    n_cells : cells in the file.
    record : what became of curved second-order cells; see `formats.curved.divided`.
    """

    points: np.ndarray
    cells: np.ndarray
    layers: tuple
    names: dict
    facets: np.ndarray
    facet_names: np.ndarray
    n_cells: int
    record: dict = field(default_factory=dict)

    @property
    def tags(self) -> np.ndarray:
        """(m,) region of each cell, of its first group where there are several."""
        tags = self.layers[-1]
        for layer in self.layers[-2::-1]:
            tags = np.where(layer != 0, layer, tags)
        return tags


def read_mesh_file(path, tags: str | None = None, key: str | None = None) -> MeshFile:
    """Read a mesh; curved cells of second order become several straight ones.

    Parameters
    ----------
    tags : name of the cell data that hold the regions; None: Gmsh's physical groups, or the only
        cell data of whole numbers.
    key : the configuration's key for errors.

    Raises
    ------
    InputError : the file cannot be read, has cells other than tetrahedra or no region tags.
    """
    path, fault = Path(path), {"file": Path(path), "key": key}
    parts = _read(path, fault)
    if parts.other or not len(parts.cells):
        raise InputError(f"has cells of kind {', '.join(parts.other)}" if parts.other
                         else "has no tetrahedra", **fault,
                         allowed="a mesh of tetrahedra of first or second order")
    nodes = np.concatenate([parts.cells.ravel(), parts.middles.ravel()])
    if not np.isfinite(parts.points).all() or nodes.min() < -1 or nodes.max() >= len(parts.points):
        raise InputError("holds points that are not finite, or cells of points that do not exist",
                         **fault, allowed="a complete mesh")
    layers, names = _layers(parts, tags, fault)
    points, cells, parent, record = divided(parts.points, parts.cells, parts.middles)
    if record:
        log.info("%s: %d curved second-order cells are cut into straight ones, true to their "
                 "volume within %.2g %%", path.name, record["curved_cells"],
                 100 * record["curved_volume_error"])
        if record["folded_cells"]:
            log.warning("%s: %d %s", path.name, record["folded_cells"], FOLDED)
    facets, whole = divided_facets(points, parts.facets, parts.facet_middles)
    return MeshFile(points, cells, tuple(layer[parent] for layer in layers), names, facets,
                    np.asarray(parts.facet_names, str)[whole], len(parts.cells), record)


def _read(path, fault) -> Parts:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError("not a known kind of mesh", **fault, allowed=", ".join(FORMATS))
    # The libraries behind these are slow to load.
    if suffix == ".msh":
        from .msh_mesh import read_msh as reader
    elif suffix == ".xdmf":
        from .xdmf_mesh import read_xdmf as reader
    else:
        from .vtk_mesh import read_vtk as reader
    try:
        return reader(path)
    except Exception as error:  # meshio lets through whatever its parsers stumble over
        raise InputError(f"not a readable mesh: {str(error) or type(error).__name__}", **fault,
                         allowed="a file in the format of its suffix") from error


def _layers(parts, wanted, fault):
    """Region tags (m,) of the cells, in as many layers as their groups overlap, and names."""
    whole = {name: np.rint(values).astype(np.int64) for name, values in parts.data.items()
             if values.ndim == 1 and np.isfinite(values).all()
             and (values == np.rint(values)).all()}
    if parts.members and wanted in (None, "gmsh:physical"):
        return _of_groups(parts, fault), parts.names
    usable = [name for name in whole if not name.startswith(("vtk", "gmsh:"))]
    name = wanted or (usable[0] if len(usable) == 1 else None)
    if name not in whole:
        problem = "no such cell data of whole numbers" if wanted else (
            "does not say which cell data hold the regions" if usable else
            "has no region tags: no cell data of whole numbers")
        raise InputError(problem, **fault, value=wanted,
                         allowed="physical groups, or in anatomy.mesh.tags one of: "
                                 + (", ".join(usable) or "(the mesh has none)"))
    return [whole[name]], {}


def _of_groups(parts, fault) -> list:
    """Physical groups in as few layers as it takes; the smaller groups go into later ones."""
    outside = ~np.any(list(parts.members.values()), axis=0)
    if outside.any():
        raise InputError(f"{int(outside.sum())} of its {len(outside)} tetrahedra are in no "
                         "physical group", **fault, allowed="each tetrahedron in a physical group")
    layers: list = []
    for tag, mask in sorted(parts.members.items(), key=lambda item: -item[1].sum()):
        free = next((layer for layer in layers if not layer[mask].any()), None)
        if free is None:
            free = np.zeros(len(parts.cells), np.int64)
            layers.append(free)
        free[mask] = tag
    if len(layers) > 1:
        several = np.sum([layer != 0 for layer in layers], axis=0) > 1
        held = [parts.names.get(tag, str(tag)) for tag, mask in parts.members.items()
                if (mask & several).any()]
        log.info("%s: %d cells are in several of the physical groups %s; of the regions of the "
                 "patient file the one written first has them", fault["file"].name, several.sum(),
                 ", ".join(held))
    return layers

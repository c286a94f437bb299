"""XDMF meshes: of one grid through meshio, of several as DOLFINx writes them through h5py.

DOLFINx's ``XDMFFile`` writes the mesh as one uniform grid, and each ``MeshTags`` as another one
with its own list of the cells that are tagged.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np

from .mesh_parts import Parts, from_meshio, joined

SOLID = {"tetrahedron": 4, "tetrahedron_10": 10, "tet_10": 10}


def read_xdmf(path) -> Parts:
    """Cells and their tags.

    Raises
    ------
    ValueError : several meshes, or grids of another kind.
    """
    import meshio  # slow to load, needed for meshes only

    path = Path(path)
    grids = [grid for grid in ElementTree.parse(path).getroot().iter("Grid")
             if grid.get("GridType", "Uniform").lower() == "uniform"]
    if len(grids) < 2:
        return from_meshio(meshio.xdmf.read(str(path)))
    meshes = [grid for grid in grids if grid.find("Geometry") is not None]
    if len(meshes) != 1:
        raise ValueError(f"{len(meshes)} meshes in one file")
    points = _values(meshes[0].find("Geometry"), path).astype(float)
    own = _cells(meshes[0], path)
    if own is None:
        raise ValueError("no mesh of tetrahedra: "
                         f"{meshes[0].find('Topology').get('TopologyType')}")
    cells, middles = joined([own], 4)
    none = np.empty((0, 3), int)
    parts = Parts(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))), cells, middles, {}, none,
                  none, np.empty(0, object))
    for grid in grids:
        tagged = _cells(grid, path)
        for attribute in grid.findall("Attribute") if tagged is not None else ():
            if attribute.get("Center", "").lower() == "cell":
                values = _values(attribute, path).ravel()
                parts.data[attribute.get("Name", "")] = _on_cells(cells, tagged[:, :4], values)
    return parts


def _cells(grid, path):
    """The tetrahedra of a grid; None: it has other cells."""
    topology = grid.find("Topology")
    nodes = SOLID.get(topology.get("TopologyType", "").lower()) if topology is not None else None
    return None if nodes is None else _values(topology, path).reshape(-1, nodes).astype(np.int64)


def _on_cells(cells, tagged, values):
    """Values of the tagged cells at all cells of the mesh; 0 where there is none."""
    if len(values) != len(tagged):
        raise ValueError(f"{len(values)} tags for {len(tagged)} cells")
    _, number = np.unique(np.sort(np.concatenate([cells, tagged]), axis=1), axis=0,
                          return_inverse=True)
    number = number.ravel()
    table = np.zeros(number.max() + 1, values.dtype)
    table[number[len(cells):]] = values
    return table[number[:len(cells)]]


def _values(element, path):
    """The numbers of an element's data item."""
    item = element.find("DataItem")
    shape = [int(n) for n in item.get("Dimensions").split()]
    text = (item.text or "").strip()
    if item.get("Format", "").upper() == "HDF":
        file, _, name = text.partition(":")
        with h5py.File(path.parent / file, "r") as stream:
            return stream[name][...].reshape(shape)
    if item.get("Format", "XML").upper() == "XML":
        return np.array(text.split(), float).reshape(shape)
    raise ValueError(f"a data item of the format {item.get('Format')}")

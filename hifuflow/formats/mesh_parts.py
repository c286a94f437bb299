"""What the readers of mesh files hand on: tetrahedra, triangles, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Middles of a second-order cell's edges, in the order of VTK: between these corners.
TETRA_EDGES = np.array([[0, 1], [1, 2], [0, 2], [0, 3], [1, 3], [2, 3]])
TRIANGLE_EDGES = np.array([[0, 1], [1, 2], [0, 2]])
LINES = ("vertex", "line", "line3")  # cells that are read over


@dataclass
class Parts:
    """Content of a mesh file, in its own unit and axes.

    Attributes
    ----------
    points : (n, 3).
    cells : (m, 4) tetrahedra.  middles : (m, 6) nodes in the middle of their edges, or -1.
    data : name -> (m,) values on the tetrahedra.
    members : tag -> (m,) bool, cells in a physical group; empty without groups.
    names : tag -> name of a physical group of tetrahedra.
    facets : (k, 3) triangles; one in several groups once for each.
    facet_middles : (k, 3) as `middles`.  facet_names : (k,) names of their groups, or "".
    other : kinds of cells that are none of these.
    """

    points: np.ndarray
    cells: np.ndarray
    middles: np.ndarray
    data: dict
    facets: np.ndarray
    facet_middles: np.ndarray
    facet_names: np.ndarray
    members: dict = field(default_factory=dict)
    names: dict = field(default_factory=dict)
    other: list = field(default_factory=list)


def joined(blocks, corners: int):
    """Corners and middles of first- and second-order cells together."""
    edges = {3: 3, 4: 6}[corners]
    cells = [np.asarray(block)[:, :corners] for block in blocks]
    middles = [np.asarray(block)[:, corners:] if np.shape(block)[1] > corners
               else np.full((len(block), edges), -1) for block in blocks]
    if not blocks:
        return np.empty((0, corners), int), np.empty((0, edges), int)
    return np.concatenate(cells).astype(np.int64), np.concatenate(middles).astype(np.int64)


def from_meshio(mesh) -> Parts:
    """The parts of a meshio mesh, with nothing said of groups yet."""
    kinds = [block.type for block in mesh.cells]
    solid = [i for i, kind in enumerate(kinds) if kind in ("tetra", "tetra10")]
    flat = [i for i, kind in enumerate(kinds) if kind in ("triangle", "triangle6")]
    other = sorted(set(kinds) - {"tetra", "tetra10", "triangle", "triangle6", *LINES})
    points = np.zeros((len(mesh.points), 3))
    points[:, :mesh.points.shape[1]] = mesh.points
    data = {name: np.concatenate([np.asarray(values[i]) for i in solid])
            for name, values in mesh.cell_data.items()} if solid else {}
    facets, middles = joined([mesh.cells[i].data for i in flat], 3)
    return Parts(points, *joined([mesh.cells[i].data for i in solid], 4), data, facets, middles,
                 np.full(len(facets), "", object), other=other)

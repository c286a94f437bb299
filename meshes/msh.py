"""Write a tagged tetrahedral mesh as MSH 4.1, binary, in metres."""

from __future__ import annotations

import errno

import numpy as np

from hifuflow.job import atomic

from .gmsh_session import gmsh_session

TRIANGLE, TETRAHEDRON = 2, 4  # Gmsh's element types
LAST = b"$EndElements"  # of a complete file


def write_msh(path, points, cells, cell_group, facets, facet_group) -> None:
    """Write a mesh with one physical group per name; every cell and facet belongs to exactly one.

    Parameters
    ----------
    points : (n, 3) [m].  cells : (m, 4).  cell_group : (m,) names.
    facets : (k, 3) boundary triangles.  facet_group : (k,) names.

    Raises
    ------
    StorageError : the disk is full.
    """
    with gmsh_session() as gmsh, atomic(path) as temporary:
        tags = np.arange(1, len(points) + 1)
        first = True
        for dimension, kind, elements, group in ((3, TETRAHEDRON, cells, cell_group),
                                                 (2, TRIANGLE, facets, facet_group)):
            for name in sorted(set(group)):
                entity = gmsh.model.addDiscreteEntity(dimension)
                if first:  # nodes need an owner; elements of any entity may use them
                    gmsh.model.mesh.addNodes(dimension, entity, tags, np.ravel(points))
                    first = False
                gmsh.model.mesh.addElementsByType(entity, kind, [],
                                                  elements[group == name].ravel() + 1)
                gmsh.model.addPhysicalGroup(dimension, [entity], name=name)
        gmsh.write(str(temporary))
        _check_written(temporary)


def _check_written(path) -> None:
    """Raise OSError if the file is incomplete: Gmsh itself does not report it."""
    with open(path, "rb") as stream:
        stream.seek(max(path.stat().st_size - 2 * len(LAST), 0))
        if LAST not in stream.read():
            raise OSError(errno.ENOSPC, "the mesh was not written to its end")

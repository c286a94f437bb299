"""Common steps of all Gmsh meshes: setting the size field, and reading the tetrahedra."""

from __future__ import annotations

import numpy as np

MILLIMETRE = 1e3  # Gmsh's tolerances suit lengths of order one to hundreds


def set_sizes(gmsh, sizes, size, path):
    """Set a `SizeField`, with the size in the target [m], as Gmsh's background field."""
    sizes.write(path, size, MILLIMETRE)
    field = gmsh.model.mesh.field.add("Structured")
    gmsh.model.mesh.field.setString(field, "FileName", str(path))
    gmsh.model.mesh.field.setAsBackgroundMesh(field)


def tetrahedra(gmsh, volumes):
    """Points [m] and the cells of each volume, numbered from 0 without gaps."""
    tags, coordinates, _ = gmsh.model.mesh.getNodes()
    number = np.zeros(int(tags.max()) + 1, np.int64)
    number[tags.astype(np.int64)] = np.arange(len(tags))
    parts = [number[gmsh.model.mesh.getElementsByType(4, volume)[1].astype(np.int64)].reshape(-1, 4)
             for volume in volumes]
    used = np.unique(np.concatenate(parts))
    renumber = np.zeros(len(tags), np.int64)
    renumber[used] = np.arange(len(used))
    return coordinates.reshape(-1, 3)[used] / MILLIMETRE, [renumber[cells] for cells in parts]

"""Tetrahedra between closed surfaces: Gmsh remeshes the surfaces and fills the volumes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from hifuflow.errors import NumericalError
from hifuflow.numerics.tetrahedra import signed_volumes

from .gmsh_session import gmsh_session
from .gmsh_tools import MILLIMETRE, set_sizes, tetrahedra
from .surfaces import enclosed_volume

CREASE = np.radians(40)  # turn of the surface [rad] above which an edge is kept
LOST = 0.5  # relative error above which Gmsh has lost a volume


def fill_surfaces(surfaces, parents, groups, sizes, size):
    """Mesh the volumes between closed surfaces that are nested and do not touch.

    Parameters
    ----------
    surfaces : list of (points, triangles) [m], closed, normals outward; the first is the body's.
    parents : index of the surface around each (the first's is not used).
    groups : compartment directly inside each surface.
    sizes, size : `SizeField` and its size in the target [m].

    Returns
    -------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  group : (m,) compartment of each cell.

    Raises
    ------
    NumericalError : Gmsh failed, or lost a volume.
    """
    with gmsh_session() as gmsh, tempfile.TemporaryDirectory() as folder:
        try:
            volumes = _geometry(gmsh, surfaces, parents)
            set_sizes(gmsh, sizes, size, Path(folder) / "sizes.dat")
            gmsh.model.mesh.generate(3)
        except Exception as error:  # Gmsh raises nothing more specific
            raise NumericalError(f"Gmsh: {error}") from error
        points, parts = tetrahedra(gmsh, volumes)
    enclosed = np.array([enclosed_volume(*surface) for surface in surfaces])
    expected = enclosed.copy()
    for volume, parent in zip(enclosed[1:], parents[1:], strict=True):
        expected[parent] -= volume
    for cells, volume in zip(parts, expected, strict=True):
        got = signed_volumes(points[cells])
        if len(cells) == 0 or got.min() <= 0 or abs(got.sum() / volume - 1) > LOST:
            raise NumericalError(f"Gmsh filled {got.sum() * 1e6:.3f} of {volume * 1e6:.3f} ml")
    cells, group = np.concatenate(parts), np.repeat(groups, [len(part) for part in parts])
    return points, cells, group


def _geometry(gmsh, surfaces, parents):
    """Parametrise the discrete surfaces and return the volume directly inside each."""
    start = 1
    for points, triangles in surfaces:
        tags = np.arange(start, start + len(points))
        entity = gmsh.model.addDiscreteEntity(2)
        gmsh.model.mesh.addNodes(2, entity, tags, (points * MILLIMETRE).ravel())
        gmsh.model.mesh.addElementsByType(entity, 2, [], tags[triangles].ravel())
        start += len(points)
    gmsh.model.mesh.classifySurfaces(CREASE, True, True, np.pi)
    gmsh.model.mesh.createGeometry()
    loops = [gmsh.model.geo.addSurfaceLoop(shell) for shell in _shells(gmsh, surfaces)]
    volumes = []
    for number, loop in enumerate(loops):
        inner = [loops[i] for i in range(1, len(loops)) if parents[i] == number]
        volumes.append(gmsh.model.geo.addVolume([loop, *inner]))
    gmsh.model.geo.synchronize()
    return volumes


def _shells(gmsh, surfaces):
    """The patches of each closed surface: those whose nodes are points of it."""
    owner = {tuple(np.round(p * MILLIMETRE, 6)): i for i, (points, _) in enumerate(surfaces)
             for p in points}
    shells = [[] for _ in surfaces]
    for _, patch in gmsh.model.getEntities(2):
        _, coordinates, _ = gmsh.model.mesh.getNodes(2, patch, includeBoundary=True)
        first = tuple(np.round(coordinates[:3], 6))
        if first not in owner:
            raise NumericalError("Gmsh moved the surface while classifying it")
        shells[owner[first]].append(patch)
    if not all(shells):
        raise NumericalError("Gmsh lost a surface while classifying it")
    return shells

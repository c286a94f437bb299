"""Tetrahedra between closed surfaces: Gmsh remeshes the surfaces and fills the volumes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from hifuflow.errors import NumericalError

from .gmsh_session import gmsh_session
from .gmsh_tools import MILLIMETRE, set_sizes, tetrahedra
from .quality import cell_volumes
from .surfaces import enclosed_volume

CREASE = np.radians(40)  # dihedral angle above which an edge of a surface is kept
OPTIMISATIONS = 3
LOST = 0.5  # a volume that is off by more than this share was lost by the mesher


def fill_surfaces(body, targets, sizes, size):
    """Mesh the body around the targets, and the targets.

    Parameters
    ----------
    body : (points, triangles) [m], closed, normals outward.
    targets : list of the same, inside the body, apart from each other.
    sizes, size : `SizeField` and its size in the target [m].

    Returns
    -------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  inside : (m,) bool, cell of a target.

    Raises
    ------
    NumericalError : Gmsh failed, or lost a volume.
    """
    with gmsh_session() as gmsh, tempfile.TemporaryDirectory() as folder:
        try:
            volumes = _geometry(gmsh, body, targets)
            set_sizes(gmsh, sizes, size, Path(folder) / "sizes.dat")
            gmsh.model.mesh.generate(3)
            gmsh.model.mesh.optimize("", niter=OPTIMISATIONS)
        except Exception as error:  # Gmsh raises nothing more specific
            raise NumericalError(f"Gmsh: {error}") from error
        points, parts = tetrahedra(gmsh, volumes)
    expected = [enclosed_volume(*surface) for surface in targets]
    expected.insert(0, enclosed_volume(*body) - sum(expected))
    for cells, volume in zip(parts, expected, strict=True):
        got = cell_volumes(points, cells)
        if len(cells) == 0 or got.min() <= 0 or abs(got.sum() / volume - 1) > LOST:
            raise NumericalError(f"Gmsh made {got.sum() * 1e6:.3f} ml of {volume * 1e6:.3f} ml")
    inside = np.repeat(np.arange(len(parts)) > 0, [len(cells) for cells in parts])
    return points, np.concatenate(parts), inside


def _geometry(gmsh, body, targets):
    """Discrete surfaces -> parametrised ones -> volumes: the body's first, then each target's."""
    start = 1
    for points, triangles in [body, *targets]:
        tags = np.arange(start, start + len(points))
        entity = gmsh.model.addDiscreteEntity(2)
        gmsh.model.mesh.addNodes(2, entity, tags, (points * MILLIMETRE).ravel())
        gmsh.model.mesh.addElementsByType(entity, 2, [], tags[triangles].ravel())
        start += len(points)
    gmsh.model.mesh.classifySurfaces(CREASE, True, True, np.pi)
    gmsh.model.mesh.createGeometry()
    shells = _shells(gmsh, [body, *targets])
    loops = [gmsh.model.geo.addSurfaceLoop(shell) for shell in shells]
    volumes = [gmsh.model.geo.addVolume(loops)]
    volumes += [gmsh.model.geo.addVolume([loop]) for loop in loops[1:]]
    gmsh.model.geo.synchronize()
    return volumes


def _shells(gmsh, surfaces):
    """The patches of each closed surface: those whose nodes lie nearest to its own points."""
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

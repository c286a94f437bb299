"""A deterministic Gmsh session that is always closed again."""

from __future__ import annotations

from contextlib import contextmanager

import gmsh

SETTINGS = {
    "General.Terminal": 0,
    "General.NumThreads": 1,  # the order of insertion, hence the mesh, depends on the threads
    "Mesh.MaxNumThreads1D": 1,
    "Mesh.MaxNumThreads2D": 1,
    "Mesh.MaxNumThreads3D": 1,
    "Mesh.Algorithm3D": 10,  # HXT
    "Mesh.RandomSeed": 1,
    "Mesh.MeshSizeExtendFromBoundary": 0,  # sizes come from the field alone
    "Mesh.MeshSizeFromPoints": 0,
    "Mesh.MeshSizeFromCurvature": 0,
    "Mesh.MshFileVersion": 4.1,
    "Mesh.Binary": 1,
}


@contextmanager
def gmsh_session():
    """Gmsh with an empty model, without signal handlers or user settings."""
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    try:
        for name, value in SETTINGS.items():
            gmsh.option.setNumber(name, value)
        gmsh.model.add("anatomy")
        yield gmsh
    finally:
        gmsh.finalize()

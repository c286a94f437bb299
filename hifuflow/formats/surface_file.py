"""Closed surfaces of triangles, STL, OBJ, PLY and VTP, through VTK's readers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifuflow.errors import InputError

from .vtk_mesh import apart, heard

SURFACES = (".stl", ".obj", ".ply", ".vtp")
SPACE = re.compile(rb"SPACE\s*=\s*(RAS|LPS)")  # in the header of files that 3D Slicer writes
HEAD = 1000  # bytes among which it is looked for


@dataclass(frozen=True)
class Surface:
    """One closed surface in its file's own unit and axes.

    Attributes
    ----------
    points : (n, 3), each once.  triangles : (m, 3).
    shell : (m,) number of the connected piece that a triangle belongs to.
    axes : "RAS" or "LPS" where the header tells, or "".
    """

    file: Path
    points: np.ndarray
    triangles: np.ndarray
    shell: np.ndarray
    axes: str

    @property
    def name(self) -> str:
        """Of the region: the file's without its ending."""
        return self.file.stem


def surface_files(path, key: str | None = None) -> list[Path]:
    """The surface that a path is, or those in a folder, in the order of their names.

    Raises
    ------
    InputError : there are none, or two of one name.
    """
    path = Path(path)
    fault = {"file": path, "key": key, "allowed": f"one of {' '.join(SURFACES)}, or a folder with "
                                                  "one for each region, called as the region"}
    files = [path] if path.is_file() else sorted(
        file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    files = [file for file in files if file.name.lower().endswith(SURFACES)]
    if not files:
        raise InputError("is no surface" if path.is_file() else "the folder holds no surface",
                         **fault)
    names = [file.stem for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"several files for one region: {', '.join(twice[:8])}", **fault)
    return files


def read_surfaces(files: list[Path], key: str | None = None) -> list[Surface]:
    """Read closed surfaces.

    Raises
    ------
    InputError : one cannot be read, is not closed, or has edges of an odd number of triangles.
    """
    found = apart(_triangles, files)
    for file, (_, fault) in zip(files, found, strict=True):
        if fault:
            raise InputError(f"not a readable surface: {fault}", file=file, key=key,
                             allowed="a file in the format of its suffix")
    return [_closed(file, *parts, key) for file, (parts, _) in zip(files, found, strict=True)]


def _closed(path, points, triangles, shell, key) -> Surface:
    """A surface that has an inside."""
    fault = {"file": path, "key": key}
    if not len(triangles) or not np.isfinite(points).all():
        raise InputError("has no triangles, or points that are not finite", **fault,
                         allowed="a closed surface")
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    if (count == 1).any():
        where = points[edges[count == 1][0]].mean(axis=0)
        raise InputError(f"is not closed: {int((count == 1).sum())} of its edges belong to one "
                         "triangle only, one at ({:.4g}, {:.4g}, {:.4g})".format(*where), **fault,
                         allowed="a closed surface: fill its holes first")
    if (count % 2).any():
        raise InputError(f"{int((count % 2).sum())} of its edges belong to three triangles or "
                         "another odd number", **fault,
                         allowed="a closed surface that has an inside and an outside")
    with open(path, "rb") as stream:
        told = SPACE.search(stream.read(HEAD))
    return Surface(path, points, triangles, shell, told[1].decode() if told else "")


def _triangles(path):
    """Points, each once, triangles that have an area, and their connected pieces.

    Raises
    ------
    ValueError : what VTK says of a file that it cannot read.
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import (
        vtkCleanPolyData,
        vtkOrientPolyData,
        vtkPolyDataConnectivityFilter,
        vtkTriangleFilter,
    )

    reader = _reader(path)
    triangle, clean, turned, pieces = (vtkTriangleFilter(), vtkCleanPolyData(),
                                       vtkOrientPolyData(), vtkPolyDataConnectivityFilter())
    triangle.PassLinesOff()
    triangle.PassVertsOff()
    clean.SetInputConnection(triangle.GetOutputPort())
    clean.SetTolerance(0)  # STL and others have each point once for each triangle
    clean.PointMergingOn()
    turned.SetInputConnection(clean.GetOutputPort())
    turned.ConsistencyOn()  # all triangles of a piece face outward, or all inward
    pieces.SetInputConnection(turned.GetOutputPort())
    pieces.SetExtractionModeToAllRegions()
    pieces.ColorRegionsOn()
    with heard() as said:
        reader.SetFileName(str(path))
        reader.Update()
        if not reader.GetOutput().GetNumberOfPolys() + reader.GetOutput().GetNumberOfStrips():
            raise ValueError("no triangles in it")
        triangle.SetInputData(reader.GetOutput())
        pieces.Update()
    if said or reader.GetErrorCode():
        raise ValueError(said[0] if said else "VTK cannot read it")
    surface = pieces.GetOutput()
    points = vtk_to_numpy(surface.GetPoints().GetData()).astype(float)
    cells = surface.GetPolys()
    nodes = vtk_to_numpy(cells.GetConnectivityArray())
    start = vtk_to_numpy(cells.GetOffsetsArray())
    triangles = nodes[start[:-1][np.diff(start) == 3][:, None] + np.arange(3)].astype(np.int64)
    number = vtk_to_numpy(surface.GetPointData().GetArray("RegionId")).astype(np.int64)
    return points, triangles, number[triangles[:, 0]]


def _reader(path):
    suffix = path.suffix.lower()
    if suffix == ".stl":
        from vtkmodules.vtkIOGeometry import vtkSTLReader as Reader
    elif suffix == ".obj":
        from vtkmodules.vtkIOGeometry import vtkOBJReader as Reader
    elif suffix == ".ply":
        from vtkmodules.vtkIOPLY import vtkPLYReader as Reader
    else:
        from vtkmodules.vtkIOXML import vtkXMLPolyDataReader as Reader
    return Reader()

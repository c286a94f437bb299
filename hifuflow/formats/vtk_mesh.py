"""Unstructured grids of VTK, legacy .vtk and .vtu, through VTK's own readers.

All versions and compressors that VTK itself reads, as VTK, ParaView, PyVista and Gmsh write them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hifuflow.errors import NumericalError
from hifuflow.isolated import run_isolated

from .mesh_parts import Parts, from_meshio, joined

SOLID, FLAT = {10: "tetra", 24: "tetra10"}, {5: "triangle", 22: "triangle6"}
READ_OVER = (1, 2, 3, 4, 21)  # vertices and lines
OF_MESHIO = "vtktype"  # names of number types with which meshio writes .vtk, and VTK does not
NODES = {10: 4, 24: 10, 5: 3, 22: 6}


def read_vtk(path) -> Parts:
    """Cells, facets and the cell data of one component.

    Raises
    ------
    ValueError : what VTK says of a file that it cannot read.
    """
    (parts, fault), = apart(_parts, [path])
    if fault:
        raise ValueError(fault)
    return parts


def apart(read: Callable, paths: list) -> list:
    """(result of `read`, or what is wrong) for each file, from a process of its own.

    Damaged files make VTK's readers crash, which would end this process without a word.
    """
    try:
        return run_isolated(_attempts, read, paths)
    except NumericalError:
        if len(paths) > 1:
            return [one for path in paths for one in apart(read, [path])]
        return [(None, "VTK crashes on it, so that it must be damaged")]


def _attempts(read, paths) -> list:
    results = []
    for path in paths:
        try:
            results.append((read(path), ""))
        except (ValueError, OSError, MemoryError) as error:
            results.append((None, str(error) or type(error).__name__))
    return results


def _parts(path) -> Parts:
    # The parts of VTK are loaded one by one: all of it takes seconds.
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkCellTypeUtilities

    try:
        grid = _read(path)
    except ValueError as error:
        if OF_MESHIO not in str(error):
            raise
        import meshio
        return from_meshio(meshio.vtk.read(str(path)))
    if grid.GetPoints() is None or not grid.GetNumberOfCells():
        raise ValueError("an unstructured grid without points or cells")
    types = np.array([grid.GetCellType(i) for i in range(grid.GetNumberOfCells())])
    nodes = vtk_to_numpy(grid.GetCells().GetConnectivityArray())
    start = vtk_to_numpy(grid.GetCells().GetOffsetsArray())[:-1]

    def blocks(kinds):
        return [nodes[start[types == kind][:, None] + np.arange(NODES[kind])] for kind in kinds]

    order = np.concatenate([np.flatnonzero(types == kind) for kind in SOLID])
    data, arrays = {}, grid.GetCellData()
    for i in range(arrays.GetNumberOfArrays()):
        array = arrays.GetArray(i)  # None for text
        if array is not None and array.GetNumberOfComponents() == 1 and array.GetName():
            data[array.GetName()] = vtk_to_numpy(array)[order]
    facets, middles = joined(blocks(FLAT), 3)
    strange = set(types.tolist()) - {*SOLID, *FLAT, *READ_OVER}
    other = sorted(vtkCellTypeUtilities.GetClassNameFromTypeId(kind).removeprefix("vtk").lower()
                   for kind in strange)
    points = vtk_to_numpy(grid.GetPoints().GetData()).astype(float)
    return Parts(points, *joined(blocks(SOLID), 4), data, facets, middles,
                 np.full(len(facets), "", object), other=other)


def _read(path):
    """The grid; what VTK would write to the terminal is an error."""
    if Path(path).suffix.lower() == ".vtu":
        from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridReader as Reader
    else:
        from vtkmodules.vtkIOLegacy import vtkUnstructuredGridReader as Reader
    with heard() as said:
        reader = Reader()
        reader.SetFileName(str(path))
        if hasattr(reader, "ReadAllScalarsOn"):  # a legacy file's first array only, otherwise
            reader.ReadAllScalarsOn()
            reader.ReadAllFieldsOn()
        reader.Update()
        grid = reader.GetOutput()
    if said or reader.GetErrorCode():  # a warning, too, is a file that VTK half reads
        raise ValueError(said[0] if said else "VTK cannot read it")
    return grid


@contextmanager
def heard():
    """What VTK would write to the terminal in the block, as a list of sentences."""
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

    before, window, said = vtkOutputWindow.GetInstance(), vtkStringOutputWindow(), []
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield said
    finally:
        vtkOutputWindow.SetInstance(before)
        text = window.GetOutput().strip()
        said += [words.strip() for words in re.findall(r"\(0x[0-9a-f]+\): (.+)", text)
                 or text.splitlines()]

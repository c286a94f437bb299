"""Unstructured grids of VTK, legacy .vtk and .vtu, through VTK's own readers.

All versions and compressors that VTK itself reads, as VTK, ParaView, PyVista and Gmsh write them.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np

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

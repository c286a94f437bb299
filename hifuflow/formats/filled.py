"""Which voxels' centres lie inside contours or closed surfaces, by VTK's scan conversion.

Even-odd: inside one outline, outside of the next one in it. A centre on an outline is inside.
"""

from __future__ import annotations

import itertools

import numpy as np


def filled_contours(contours, shape: tuple) -> np.ndarray:
    """Pixels inside closed polygons.

    Parameters
    ----------
    contours : polygons (n, 2), in pixels: the centre of pixel (i, j) is at (i, j).
    shape : (ni, nj) of the image.

    Returns
    -------
    mask : (ni, nj) bool.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    corners = np.concatenate(contours)
    points, lines, outline = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(np.column_stack([corners, np.zeros(len(corners))]), deep=True))
    first = np.cumsum([0, *map(len, contours)])
    loops = [np.r_[a:b, a] for a, b in itertools.pairwise(first.tolist())]
    lines.SetData(*(numpy_to_vtkIdTypeArray(values, deep=True) for values in (
        np.cumsum([0, *map(len, loops)]), np.concatenate(loops))))
    outline.SetPoints(points)
    outline.SetLines(lines)
    return _inside(outline, (*shape, 1))[..., 0]


def filled_surface(points: np.ndarray, triangles: np.ndarray, shape: tuple) -> np.ndarray:
    """Voxels inside a closed surface.

    Parameters
    ----------
    points : (n, 3) in voxels: the centre of voxel (i, j, k) is at (i, j, k).
    triangles : (m, 3) its corners.
    shape : (ni, nj, nk) of the volume.

    Returns
    -------
    mask : (ni, nj, nk) bool.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    corners, cells, surface = vtkPoints(), vtkCellArray(), vtkPolyData()
    corners.SetData(numpy_to_vtk(np.ascontiguousarray(points, float), deep=True))
    cells.SetData(3, numpy_to_vtkIdTypeArray(np.ravel(triangles).astype(np.int64), deep=True))
    surface.SetPoints(corners)
    surface.SetPolys(cells)
    return _inside(surface, shape)


def _inside(outline, shape) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

    stencil, image = vtkPolyDataToImageStencil(), vtkImageStencilToImage()
    stencil.SetInputData(outline)
    stencil.SetOutputOrigin(0, 0, 0)
    stencil.SetOutputSpacing(1, 1, 1)
    stencil.SetOutputWholeExtent(*(end for n in shape for end in (0, n - 1)))
    image.SetInputConnection(stencil.GetOutputPort())
    image.SetInsideValue(1)
    image.SetOutsideValue(0)
    image.SetOutputScalarTypeToUnsignedChar()
    image.Update()
    values = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars())
    return values.reshape(shape, order="F").astype(bool)

"""How large the cells are: finest in the target and at the foci, growing with the distance."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.artifacts import Anatomy

CELL_VOLUME = 0.25 # volume of a tetrahedron over the cube of the wanted size, surfaces included
GROWTH = 1.5  # of the cell size over the target's radius; keeps the skin coarse
GRID_STEPS = 80  # the field's grid has about this many points along the longest edge


class SizeField:
    """Wanted cell size h(x) = s (1 + g d(x) / r).

    d is the distance from the target and the foci, r the radius of the sphere of the target's
    volume, g = `GROWTH`, s the size inside the target, which `mesh_anatomy` adjusts to the cell
    count.

    Attributes
    ----------
    origin, step : (3,) first point and spacing of the grid [m].  growth : (nx, ny, nz) h / s.
    """

    def __init__(self, anatomy: Anatomy, foci):
        every = max(1, max(anatomy.labels.shape) // GRID_STEPS)
        fine = np.pad(anatomy.target_mask, 2 * every)
        if len(foci):
            index = np.rint(anatomy.index(foci)).astype(int) + 2 * every
            index = index[((index >= 0) & (index < fine.shape)).all(axis=1)]
            fine[tuple(index.T)] = True
        distance = ndimage.distance_transform_edt(~fine, sampling=anatomy.spacing)
        radius = (3 * anatomy.target_mask.sum() * anatomy.voxel_volume / (4 * np.pi)) ** (1 / 3)
        growth = 1 + GROWTH * distance / radius
        body = np.pad(anatomy.body_mask, 2 * every)
        self.equivalent_volume = float((growth[body] ** -3.0).sum()) * anatomy.voxel_volume
        self.growth = np.ascontiguousarray(growth[::every, ::every, ::every])
        self.origin = anatomy.affine[:3, 3] - 2 * every * anatomy.spacing
        self.step = every * anatomy.spacing
        self.radius = radius

    def cells(self, size: float) -> float:
        """Estimated number of cells: integral of 1 / (c h^3) over the body."""
        return self.equivalent_volume / (CELL_VOLUME * size**3)

    def size(self, cells: float) -> float:
        """Size s [m] in the target at which the estimate gives `cells`."""
        return (self.equivalent_volume / (CELL_VOLUME * cells)) ** (1 / 3)

    def write(self, path, size: float, scale: float) -> None:
        """Write the field for Gmsh's ``Structured`` (binary), lengths times `scale`."""
        with open(path, "wb") as file:
            file.write((self.origin * scale).tobytes())
            file.write((self.step * scale).tobytes())
            file.write(np.array(self.growth.shape, np.int32).tobytes())
            file.write((self.growth * size * scale).tobytes())

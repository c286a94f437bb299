"""Cell size: finest in the target and at the foci, growing with the distance from them, and as fine
as the thickness of the organs that the mesh conforms to requires."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.optimize import brentq

from hifuflow.records.anatomy import Anatomy

CELL_VOLUME = 0.25  # volume of a tetrahedron over the cube of the wanted size, surfaces included
GROWTH = 1.5  # relative growth of the cell size over the target's radius; keeps the skin coarse
GRID_STEPS = 80  # points of the field's grid along the longest edge, about
PER_HALF_THICKNESS = 1.0  # largest cell size in an organ over its half thickness
COARSER = 4.0  # largest ratio of an organ's to the target's cell size, each over the half thickness
SLOPE = 0.5  # growth of the half thickness that cells follow with the distance from an organ


class SizeField:
    """Field of the wanted cell size, h(x) = min(s g(x), max(s, min(p, c s / r) t(x))).

    g = 1 + `GROWTH` d / r grows with the distance d from the target and the foci, r is the radius
    of the sphere of the target's volume, s the size inside the target, which `mesh_anatomy`
    adjusts to the cell count. t is the half thickness of the organs' nearest parts, p and c are
    `PER_HALF_THICKNESS` and `COARSER`; no organ has finer cells than the target.

    Attributes
    ----------
    origin, step : (3,) first point and spacing of the grid [m].
    growth, thickness : (nx, ny, nz) g and t [m].  radius : r [m].
    """

    def __init__(self, anatomy: Anatomy, foci):
        self.every = max(1, max(anatomy.labels.shape) // GRID_STEPS)
        self.anatomy, pad = anatomy, 2 * self.every
        fine = np.pad(anatomy.target_mask, pad)
        if len(foci):
            index = np.rint(anatomy.index(foci)).astype(int) + pad
            index = index[((index >= 0) & (index < fine.shape)).all(axis=1)]
            fine[tuple(index.T)] = True
        distance = ndimage.distance_transform_edt(~fine, sampling=anatomy.spacing)
        self.radius = (3 * anatomy.target_mask.sum() * anatomy.voxel_volume
                       / (4 * np.pi)) ** (1 / 3)
        self.growth = 1 + GROWTH / self.radius * self._sampled(distance)
        self.thickness = np.full(self.growth.shape, np.inf)
        self.body = self._sampled(np.pad(anatomy.body_mask, pad))
        self.origin = anatomy.affine[:3, 3] - pad * anatomy.spacing
        self.step = self.every * anatomy.spacing

    def _sampled(self, values):
        return np.ascontiguousarray(values[(slice(None, None, self.every),) * 3])

    def follow(self, organs) -> None:
        """Make the cells follow the `Thickness` of each of these organs."""
        self.thickness = np.full(self.growth.shape, np.inf)
        for level in {level for organ in organs for level in organ.thinner}:
            thin = np.zeros(self.anatomy.labels.shape, bool)
            for organ in organs:
                if level in organ.thinner:
                    thin[organ.box] |= organ.thinner[level]
            blocks = np.pad(thin, 2 * self.every)
            for axis in range(3):  # a grid point represents all voxels up to the next one
                starts = np.arange(self.growth.shape[axis]) * self.every
                blocks = np.logical_or.reduceat(blocks, starts, axis=axis)
            if blocks.any():
                away = ndimage.distance_transform_edt(~blocks, sampling=self.step)
                self.thickness = np.minimum(self.thickness, level + SLOPE * away)

    def __call__(self, size: float) -> np.ndarray:
        """h [m] at the grid's points for the size s [m] in the target."""
        share = min(PER_HALF_THICKNESS, COARSER * size / self.radius)
        return np.minimum(size * self.growth, np.maximum(size, share * self.thickness))

    def cells(self, size: float) -> float:
        """Estimated number of cells: integral of 1 / (c h^3) over the body."""
        return float((self(size)[self.body] ** -3.0).sum()) * np.prod(self.step) / CELL_VOLUME

    def size(self, cells: float) -> float:
        """Size s [m] in the target at which the estimate gives `cells`."""
        low = high = self.radius
        while self.cells(low) < cells:
            low /= 2
        while self.cells(high) > cells:
            high *= 2
        return low if low == high else np.exp(brentq(
            lambda log_size: np.log(self.cells(np.exp(log_size)) / cells),
            np.log(low), np.log(high), xtol=1e-4))

    def write(self, path, size: float, scale: float) -> None:
        """Write the field for Gmsh's ``Structured`` (binary), lengths times `scale`."""
        with open(path, "wb") as file:
            file.write((self.origin * scale).tobytes())
            file.write((self.step * scale).tobytes())
            file.write(np.array(self.growth.shape, np.int32).tobytes())
            file.write((self(size) * scale).tobytes())

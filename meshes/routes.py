"""Meshing routes, from the one with the best surfaces to the one that cannot fail."""

from __future__ import annotations

import numpy as np

from hifuflow.errors import NumericalError

from .compartments import REST, TARGET, Compartments, nested_pieces
from .conforming import fill_surfaces
from .surfaces import SmoothMask
from .voxel_route import fill_voxels

BODY_STEPS, PIECE_STEPS = 22, 14  # surface grid: cube root of the volume over this
FIELD_STEPS = 40  # the same for surfaces that nodes are moved onto
CLOSEST = 1.0  # least gap of two surfaces, in steps of the coarser grid: nearer ones may meet


class SurfaceRoute:
    """The route by closed surfaces around nested pieces, which Gmsh remeshes and fills.

    Raises
    ------
    NumericalError : the pieces are not nested, or come too close to each other.
    """

    name = "surfaces"

    def __init__(self, compartments: Compartments):
        pieces = nested_pieces(compartments)
        if isinstance(pieces, str):
            raise NumericalError(pieces)
        self.parents = [piece.parent for piece in pieces]
        self.groups = [piece.compartment for piece in pieces]
        self.masks, self.volumes = [], []
        for piece in pieces:
            steps = BODY_STEPS if piece.parent is None else PIECE_STEPS
            mask = SmoothMask(piece.hull, compartments.origin, compartments.spacing, steps)
            outer = self.masks[piece.parent] if piece.parent is not None else mask
            if piece.gap < CLOSEST * max(mask.step.max(), outer.step.max()):
                raise NumericalError(
                    f"{compartments.names[piece.compartment]} comes within {piece.gap * 1e3:.1f} "
                    "mm of another surface")
            self.masks.append(mask)
            self.volumes.append(piece.hull.sum() * np.prod(compartments.spacing))
        kept = [compartments.mask(number).sum() * np.prod(compartments.spacing)
                for number in range(REST, len(compartments.names))]
        self.kept = np.array(kept)

    def __call__(self, aim, sizes, size):
        """Mesh with surfaces that enclose `aim` (body, target, organs) [m3]."""
        factor = aim / self.kept
        surfaces = [mask.surface(volume * factor[group - REST])
                    for mask, volume, group in zip(self.masks, self.volumes, self.groups,
                                                   strict=True)]
        return fill_surfaces(surfaces, self.parents, self.groups, sizes, size)


class VoxelRoute:
    """The route by a box that Gmsh fills.

    Its cells are sorted into compartments, and nodes move onto the surfaces.
    """

    name, snap = "voxels", True

    def __init__(self, compartments: Compartments):
        inner = compartments.index >= TARGET
        masks = [compartments.mask(REST)]
        masks += [inner & (compartments.index <= number)
                  for number in range(TARGET, len(compartments.names))]
        self.masks = [SmoothMask(mask, compartments.origin, compartments.spacing, FIELD_STEPS)
                      for mask in masks]

    def __call__(self, aim, sizes, size):
        """Mesh with surfaces that enclose `aim` (body, target, organs) [m3]."""
        volumes = [aim[0], *np.cumsum(aim[1:])]
        levels = [mask.level(volume) for mask, volume in zip(self.masks, volumes, strict=True)]
        return fill_voxels(self.masks, levels, sizes, size, self.snap)


class StairRoute(VoxelRoute):
    """`VoxelRoute` without moving nodes: surfaces consist of the facets of well-shaped cells."""

    name, snap = "stairs", False


ROUTES = (SurfaceRoute, VoxelRoute, StairRoute)


def fill(route, aim, sizes, size):
    """Mesh by a route; a function of a module, so that another process can run it."""
    return route(aim, sizes, size)

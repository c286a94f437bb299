"""Tetrahedral mesh of the body with a chosen number of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hifuflow.artifacts import Anatomy
from hifuflow.errors import InputError, NumericalError
from hifuflow.job import log

from .conforming import fill_surfaces
from .isolated import run_limited
from .msh import write_msh
from .quality import boundary_facets, cell_quality, cell_volumes, unknowns_p2
from .sizes import SizeField
from .surfaces import SmoothMask
from .voxel_route import fill_voxels

ATTEMPTS = 6
CELLS_TOLERANCE = 0.03  # stop as soon as the count and the volumes are this close
TARGET_TOLERANCE = 0.01
BODY_TOLERANCE = 0.005
COUNT_EXPONENT = 2.6  # cells ~ size ** -exponent, between surface (2) and volume (3)
BODY_STEPS, TARGET_STEPS = 22, 14  # surface grid: cube root of the volume over this
SMOOTHING = 0.7  # standard deviation of the masks' Gaussian over the surface grid's spacing
CLOSEST = 1.0  # surfaces nearer to each other than this share of the grid's spacing may meet
WORST_QUALITY = 0.08  # of the worst cell; below it another attempt is made
CPU_SECONDS = 60  # of one attempt; healthy ones take two or three
NUDGE = 1.01
COARSEST = 0.8  # cells no larger than this share of the target's radius
FINEST = 0.5  # cells no smaller than this share of a voxel
MOST_CELLS = 500_000
SKIN, CUT = "skin", "cut"


@dataclass
class Mesh:
    """points (n, 3) [m], cells (m, 4), inside (m,) bool: cell of the target."""

    points: np.ndarray
    cells: np.ndarray
    inside: np.ndarray

    def volumes(self):
        """Volume of the target and of the whole body [m3]."""
        volume = cell_volumes(self.points, self.cells)
        return float(volume[self.inside].sum()), float(volume.sum())


def mesh_anatomy(anatomy: Anatomy, plan, config: dict, msh_path) -> dict:
    """Mesh that conforms to the body's surface and the target's, written as MSH 4.1.

    The surfaces are iso-surfaces of the smoothed voxel masks. Their levels and the size field are
    adjusted together until the meshed volumes equal the voxels' and the count is the wanted one.

    Parameters
    ----------
    anatomy : segmented body.
    plan : `Plan`; cells are as fine at its foci as in the target (None: the target alone).
    config : ``cells`` (wanted number of tetrahedra), and the ``file`` and ``key`` it is from.
    msh_path : where the mesh goes. Volume groups carry region names: the target's cells that of
        its largest region, all others that of the largest other region. Facet groups: ``skin``
        (next to coupling water) and ``cut`` (all others).

    Returns
    -------
    dict : `n_cells`, `n_vertices`, `n_unknowns_p2`, `n_unknowns_p2_off_skin`, `min_quality` and
        `quality_p01` (radius ratio: 1 regular, 0 flat), `regions` (name -> `volume_m3`,
        `label_volume_m3`, `lumped`), `method`.

    Raises
    ------
    InputError : the count cannot be met.  NumericalError : no route gave a valid mesh.
    """
    foci = np.empty((0, 3)) if plan is None else plan.foci
    sizes = SizeField(anatomy, foci)
    _check_cells(config, sizes, anatomy)
    mesh, method = _adjusted(anatomy, sizes, config["cells"])
    facets = boundary_facets(mesh.cells)
    facet_group = np.where(_faces_water(mesh.points[facets].mean(axis=1), anatomy), SKIN, CUT)
    regions, cell_group = _regions(anatomy, mesh)
    write_msh(msh_path, mesh.points, mesh.cells, cell_group, facets, facet_group)
    quality = cell_quality(mesh.points, mesh.cells)
    unknowns = unknowns_p2(mesh.cells)
    return {
        "n_cells": len(mesh.cells),
        "n_vertices": len(mesh.points),
        "n_unknowns_p2": unknowns,
        "n_unknowns_p2_off_skin": unknowns - unknowns_p2(facets[facet_group == SKIN]),
        "min_quality": float(quality.min()),
        "quality_p01": float(np.percentile(quality, 1)),
        "regions": regions,
        "method": method,
    }


def _check_cells(config, sizes, anatomy):
    """Refuse a count that cannot hold the target's surface, or that nobody can compute with."""
    least = int(np.ceil(sizes.cells(COARSEST * sizes.radius)))
    most = int(min(sizes.cells(FINEST * anatomy.spacing.min()), MOST_CELLS))
    if not least <= config["cells"] <= most:
        raise InputError("no mesh of this body can have that many cells", file=config["file"],
                         key=config["key"], value=config["cells"],
                         allowed=f"a whole number from {least} to {most}")


def _adjusted(anatomy, sizes, wanted):
    """Mesh by the first route that works for this body; say which, and why not the other."""
    domain = Domain(anatomy)
    if domain.gap < CLOSEST * domain.body_step:
        reason = f"the target comes within {domain.gap * 1e3:.1f} mm of the body's surface"
    else:
        try:
            mesh, history = _iterate(domain, sizes, wanted, _surface_route)
            return mesh, {"route": "surfaces", "fallback_reason": None, "attempts": history}
        except NumericalError as error:
            reason = str(error)
    log.info("no mesh through surfaces: %s; meshing the voxels", reason)
    mesh, history = _iterate(domain, sizes, wanted, _voxel_route)
    return mesh, {"route": "voxels", "fallback_reason": reason, "attempts": history}


class Domain:
    """Smoothed masks of the target and the body, their voxel volumes (2,) [m3], their gap [m]."""

    def __init__(self, anatomy):
        body = ndimage.binary_fill_holes(anatomy.body_mask)
        self.target, target_volume, _ = self._smooth(anatomy, anatomy.target_mask, TARGET_STEPS)
        self.body, body_volume, self.body_step = self._smooth(anatomy, body, BODY_STEPS)
        self.volumes = np.array([target_volume, body_volume])
        depth = ndimage.distance_transform_edt(np.pad(body, 1), sampling=anatomy.spacing)
        self.gap = float(depth[np.pad(anatomy.target_mask, 1)].min())

    @staticmethod
    def _smooth(anatomy, mask, steps):
        """Smoothed mask on a grid that suits its volume, never finer than the voxels."""
        volume = mask.sum() * anatomy.voxel_volume
        step = max(volume ** (1 / 3) / steps, anatomy.spacing.max())
        smooth = SmoothMask(mask, anatomy.affine[:3, 3], anatomy.spacing, SMOOTHING * step, step)
        return smooth, volume, step


def _surface_route(domain, aim, sizes, size):
    body = domain.body.surface(aim[1])[0]
    return fill_surfaces(body, domain.target.surface(aim[0]), sizes, size)


def _voxel_route(domain, aim, sizes, size):
    return fill_voxels(domain.body, domain.body.level(aim[1]), domain.target,
                       domain.target.level(aim[0]), sizes, size)


def _iterate(domain, sizes, wanted, route):
    """Mesh again with corrected size and surface volumes until all are close; keep the best."""
    tolerance = np.array([CELLS_TOLERANCE, TARGET_TOLERANCE, BODY_TOLERANCE])
    size, aim = sizes.size(wanted), domain.volumes.copy()
    best, best_score, history, failure = None, np.inf, [], None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            mesh = Mesh(*run_limited(route, domain, aim, sizes, size, cpu_seconds=CPU_SECONDS))
        except NumericalError as error:
            log.info("attempt %d failed: %s", attempt, error)
            history.append({"size_m": float(size), "failure": str(error)})
            if failure is not None and best is None:
                raise
            # another level and size make other surfaces
            failure, aim, size = error, aim * NUDGE, size * NUDGE
            continue
        worst = float(cell_quality(mesh.points, mesh.cells).min())
        ratio = np.array([len(mesh.cells) / wanted, *(mesh.volumes() / domain.volumes)])
        score = np.max(np.abs(ratio - 1) / tolerance)
        score = max(score, WORST_QUALITY / max(worst, 1e-9))
        log.info("attempt %d: %d cells, target volume %+.1f %%, body %+.1f %%, quality %.2f",
                 attempt, len(mesh.cells), *(100 * (ratio[1:] - 1)), worst)
        history.append({"size_m": float(size), "n_cells": len(mesh.cells), "min_quality": worst})
        if score < best_score:
            best, best_score = mesh, score
        if score <= 1:
            break
        size *= ratio[0] ** (1 / COUNT_EXPONENT)
        aim = aim / ratio[1:]
    return best, history


def _faces_water(positions, anatomy):
    """Whether points of the surface are nearer to coupling water than to any other outside."""
    spacing, pad = anatomy.spacing, 2
    water = np.pad(anatomy.coupling, pad)
    other = ~water & ~np.pad(anatomy.body_mask, pad)
    index = anatomy.index(positions).T + pad
    distance = [ndimage.map_coordinates(ndimage.distance_transform_edt(~mask, sampling=spacing),
                                        index, order=1, mode="nearest") for mask in (water, other)]
    return distance[0] < distance[1]


def _regions(anatomy, mesh):
    """Group name of each cell, and the volumes of the two groups."""
    volume = cell_volumes(mesh.points, mesh.cells)
    names = np.empty(len(mesh.cells), object)
    record = {}
    for in_target in (True, False):
        part = {name: region["volume_m3"] for name, region in anatomy.regions.items()
                if (name in anatomy.target) == in_target}
        if not part:
            raise NumericalError("the whole body is target: nothing is left around it")
        name = max(part, key=part.get)
        names[mesh.inside == in_target] = name
        record[name] = {"volume_m3": float(volume[mesh.inside == in_target].sum()),
                        "label_volume_m3": sum(part.values()),
                        "lumped": sorted(part)}
    return record, names.astype(str)

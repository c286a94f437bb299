"""Tetrahedral mesh of the body with a chosen number of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hifuflow.artifacts import Anatomy
from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import OutOfTime, run_isolated
from hifuflow.job import log

from .conforming import fill_surfaces
from .msh import write_msh
from .quality import boundary_facets, cell_quality, cell_volumes, unknowns_p2
from .sizes import SizeField
from .surfaces import SmoothMask
from .voxel_route import fill_voxels

ATTEMPTS = 6
MORE_ATTEMPTS = 6  # while no mesh is acceptable
AIM = np.array([0.03, 0.01, 0.005])  # count, target's and body's volume: close enough to stop
LIMITS = np.array([0.10, 0.03, 0.02])  # the same three: what is acceptable at all
COARSE_LIMITS = np.array([0.10, 0.05, 0.05])  # flat facets cut off more of a rounded body
COARSE_CELLS = 12_000  # below it
COUNT_EXPONENT = 2.6  # cells ~ size ** -exponent, between surface (2) and volume (3)
BODY_STEPS, TARGET_STEPS = 22, 14  # surface grid: cube root of the volume over this
SMOOTHING = 0.7  # standard deviation of the masks' Gaussian over the surface grid's spacing
CLOSEST = 1.0  # surfaces nearer to each other than this share of the grid's spacing may meet
WORST_QUALITY = 0.08  # of the worst cell; below it another attempt is made
LOWEST_QUALITY = 0.05  # of the worst cell; below it a mesh is not acceptable
CPU_SECONDS = 600  # of one attempt; healthy ones take seconds, so only a real hang meets it
NUDGE = 1.01
COARSEST = 0.5  # cells no larger than this share of the target's radius
FINEST = 0.15  # cells no smaller than this share of a voxel: the masks are smoothed
LEAST_VOXELS = 8  # of a target whose shape is worth a surface
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
        `label_volume_m3`, `lumped`), `method` (`route`, `fallback_reason`, `attempts`
        of both routes).
        The volumes are of the two groups that the mesh has: regions that share a group are named
        in its `lumped`, and have no volume of their own here. The voxels' labels, not the groups,
        say which tissue is where. An attempt that failed, or was stopped at the limit of CPU
        time, has a `failure` that says so.

    Raises
    ------
    InputError : the target is too small, or no mesh of that count meets `LIMITS`.
    """
    sizes = check_cells(anatomy, plan, config)
    mesh, method = _adjusted(anatomy, sizes, config)
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


def check_cells(anatomy: Anatomy, plan, config: dict) -> SizeField:
    """The cells' size field, once a mesh of this body with so many cells is conceivable.

    Parameters : see `mesh_anatomy`.

    Raises
    ------
    InputError : the target is too small, the count cannot hold its surface, or nobody can compute
        with it.
    """
    voxels = int(anatomy.target_mask.sum())
    if voxels < LEAST_VOXELS:
        raise InputError(f"the target is too small: {voxels} voxels", file=config["file"],
                         key="target.region", value=anatomy.target[0],
                         allowed=f"at least {LEAST_VOXELS} voxels")
    sizes = SizeField(anatomy, np.empty((0, 3)) if plan is None else plan.foci)
    least = int(np.ceil(sizes.cells(COARSEST * sizes.radius)))
    most = int(min(sizes.cells(FINEST * anatomy.spacing.min()), MOST_CELLS))
    if not least <= config["cells"] <= most:
        problem = ("so few cells cannot hold the target's surface" if config["cells"] < least
                   else "so many cells are too fine for this map, or too many to compute with")
        raise InputError(problem, file=config["file"], key=config["key"], value=config["cells"],
                         allowed=f"a whole number from {least} to {most}")
    return sizes


def _adjusted(anatomy, sizes, config):
    """Mesh by the first route that works for this body; say which, and why not the other."""
    domain, wanted, attempts = Domain(anatomy), config["cells"], []
    if domain.gap < CLOSEST * domain.body_step:
        reason = f"the target comes within {domain.gap * 1e3:.1f} mm of the body's surface"
    else:
        try:
            mesh = _iterate(domain, sizes, wanted, _surface_route, attempts)
            return mesh, {"route": "surfaces", "fallback_reason": None, "attempts": attempts}
        except NumericalError as error:
            reason = str(error)
    log.info("no mesh through surfaces: %s; meshing the voxels", reason)
    try:
        mesh = _iterate(domain, sizes, wanted, _voxel_route, attempts)
    except NumericalError as error:
        cells, target, body = 100 * _limits(wanted)
        raise InputError(
            f"no acceptable mesh with so many cells: through surfaces, {reason}; through voxels, "
            f"{error}", file=config["file"], key=config["key"], value=wanted,
            allowed=f"a count, most often a larger one, that is met within {cells:g} % with the "
                    f"target's volume within {target:g} %, the body's within {body:g} %, quality "
                    f">= {LOWEST_QUALITY}") from error
    return mesh, {"route": "voxels", "fallback_reason": reason, "attempts": attempts}


def _limits(wanted):
    """What is acceptable for a mesh of so many cells: count, target's and body's volume."""
    return COARSE_LIMITS if wanted < COARSE_CELLS else LIMITS


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


@dataclass
class Attempt:
    """A mesh, its worst cell's quality, and count and volumes over the wanted ones (3,)."""

    mesh: Mesh
    quality: float
    ratio: np.ndarray

    @classmethod
    def of(cls, mesh, wanted, volumes):
        ratio = np.array([len(mesh.cells) / wanted, *(mesh.volumes() / volumes)])
        return cls(mesh, float(cell_quality(mesh.points, mesh.cells).min()), ratio)

    @property
    def score(self):
        """At most 1 when it is not worth trying again."""
        off = np.max(np.abs(self.ratio - 1) / AIM)
        return max(off, WORST_QUALITY / max(self.quality, 1e-9))

    def acceptable(self, limits):
        """Whether it may be used."""
        return bool(self.quality >= LOWEST_QUALITY and (np.abs(self.ratio - 1) <= limits).all())

    def __str__(self):
        return (f"{len(self.mesh.cells)} cells, target volume {100 * (self.ratio[1] - 1):+.1f} %, "
                f"body {100 * (self.ratio[2] - 1):+.1f} %, quality {self.quality:.2f}")


def _iterate(domain, sizes, wanted, route, history):
    """Mesh again with corrected size and surface volumes until all are close; keep the best.

    Each attempt, failed or not, is appended to `history`.

    Raises
    ------
    NumericalError : no attempt gave an acceptable mesh.
    """
    size, aim, limits = sizes.size(wanted), domain.volumes.copy(), _limits(wanted)
    best, failures = None, 0
    for number in range(1, ATTEMPTS + MORE_ATTEMPTS + 1):
        try:
            mesh = Mesh(*run_isolated(route, domain, aim, sizes, size, cpu_seconds=CPU_SECONDS))
        except NumericalError as error:
            log.info("attempt %d failed: %s", number, error)
            history.append({"by": route.__name__.strip("_"), "size_m": float(size),
                            "failure": str(error)})
            failures += 1
            if best is None and (failures == 2 or isinstance(error, OutOfTime)):
                raise
            if isinstance(error, OutOfTime):
                break
            if best and number >= ATTEMPTS and best.acceptable(limits):
                break
            # another level and size make other surfaces
            aim, size = np.sqrt(aim * domain.volumes) * NUDGE, size * NUDGE
            continue
        attempt = Attempt.of(mesh, wanted, domain.volumes)
        log.info("attempt %d: %s", number, attempt)
        history.append({"by": route.__name__.strip("_"), "size_m": float(size),
                        "n_cells": len(mesh.cells), "min_quality": attempt.quality})
        if best is None or ((not attempt.acceptable(limits), attempt.score)
                            < (not best.acceptable(limits), best.score)):
            best = attempt
        if attempt.score <= 1 or (number >= ATTEMPTS and best.acceptable(limits)):
            break
        size *= attempt.ratio[0] ** (1 / COUNT_EXPONENT)
        aim = aim / attempt.ratio[1:]
    if not best.acceptable(limits):
        raise NumericalError(f"the best of {number} attempts has {best}")
    return best.mesh


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

"""Tetrahedral mesh of the body with a chosen number of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hifuflow.artifacts import Anatomy
from hifuflow.errors import InputError, NumericalError
from hifuflow.isolated import OutOfTime, run_isolated
from hifuflow.job import log

from .cell_regions import tag_cells
from .compartments import LEAST_VOXELS, Compartments
from .domain import ROUTES, fill
from .msh import write_msh
from .polish import polished
from .quality import boundary_facets, cell_quality, cell_volumes, smallest_dihedral, unknowns_p2
from .sizes import SizeField

ATTEMPTS = 6
MORE_ATTEMPTS = 4  # while no mesh meets the goals
COUNT_EXPONENT = 2.6  # cells ~ size ** -exponent, between surface (2) and volume (3)
# Count, target's, body's and organs' volumes, relative: close enough to stop
AIM = (0.04, 0.004, 0.004, 0.03)
AIM_ANGLES = 1.05  # over those of the goals
NEAREST, FARTHEST = 0.8, 1.25  # correction of a surface's volume from one attempt to the next
CPU_SECONDS = 600  # of one attempt; healthy ones take seconds, so only a real hang meets it
NUDGE = 1.01
COARSEST = 0.5  # cells no larger than this share of the target's radius
FINEST = 0.15  # cells no smaller than this share of a voxel: the masks are smoothed
MOST_CELLS = 1_000_000
SKIN, CUT = "skin", "cut"


@dataclass(frozen=True)
class Goals:
    """What a mesh is held to.

    Attributes
    ----------
    volumes : (3,) largest relative errors of the count, the target's and the body's volume.
    angles : (2,) least values of the cells' smallest dihedral angles: of the smallest one and of
        the first percentile [degrees].
    """

    volumes: tuple
    angles: tuple


# By the number of cells from which on they hold. Flat facets cut off more of a rounded body when
# they are few, and leave fewer nodes that can move; organs are what they are, and recorded.
GOALS = {0: Goals((0.10, 0.05, 0.03), (8, 12)), 9_000: Goals((0.10, 0.02, 0.01), (8, 15)),
         100_000: Goals((0.10, 0.007, 0.01), (8, 15))}
LIMITS = Goals((0.10, 0.05, 0.05), (3, 3))  # when no way reaches the goals


@dataclass
class Mesh:
    """points (n, 3) [m], cells (m, 4), group (m,): compartment of each cell."""

    points: np.ndarray
    cells: np.ndarray
    group: np.ndarray

    def volumes(self, n_surfaces):
        """What the surfaces enclose: the body, the target, the organs (n_surfaces,) [m3]."""
        volume = np.bincount(self.group, cell_volumes(self.points, self.cells), n_surfaces + 1)
        return np.array([volume.sum(), *volume[2:]])


def mesh_anatomy(anatomy: Anatomy, plan, config: dict, msh_path) -> dict:
    """Mesh that conforms to body, target and organs with a boundary, written as MSH 4.1.

    The surfaces are iso-surfaces of the smoothed voxel masks. Their levels and the size field are
    adjusted together until the meshed volumes equal the voxels' and the count is the wanted one.

    Parameters
    ----------
    anatomy : segmented body.
    plan : `Plan`; cells are as fine at its foci as in the target (None: the target alone).
    config : ``cells`` (wanted number of tetrahedra), the ``file`` and ``key`` it is from,
        ``boundary_regions`` (names of regions whose surfaces the mesh conforms to).
    msh_path : where the mesh goes. Volume groups carry region names (see `tag_cells`). Facet
        groups: ``skin`` (next to coupling water) and ``cut`` (all others).

    Returns
    -------
    dict : `n_cells`, `n_vertices`, `n_unknowns_p2`, `n_unknowns_p2_off_skin`, `min_quality` and
        `quality_p01` (radius ratio: 1 regular, 0 flat), `min_dihedral_deg` and
        `dihedral_p01_deg` (smallest angle of each cell), `regions` (see `tag_cells`), `surfaces`
        (body, target, organs -> `volume_m3`, `label_volume_m3`, `volume_error`), `islands`
        (pieces without a surface of their own), `method` (`route`, `fallback_reason`, `attempts`
        of all routes; one that failed has a `failure`).

    Raises
    ------
    InputError : the target is too small, or no mesh of that count is acceptable.
    """
    sizes = check_cells(anatomy, plan, config)
    compartments = Compartments.of(anatomy, config)
    mesh, method = _adjusted(compartments, sizes, config)
    facets = boundary_facets(mesh.cells)
    facet_group = np.where(_faces_water(mesh.points[facets].mean(axis=1), anatomy), SKIN, CUT)
    cell_group, regions = tag_cells(mesh.points, mesh.cells, mesh.group, anatomy, compartments)
    write_msh(msh_path, mesh.points, mesh.cells, cell_group, facets, facet_group)
    quality = cell_quality(mesh.points, mesh.cells)
    angle = smallest_dihedral(mesh.points, mesh.cells)
    unknowns = unknowns_p2(mesh.cells)
    return {
        "n_cells": len(mesh.cells),
        "n_vertices": len(mesh.points),
        "n_unknowns_p2": unknowns,
        "n_unknowns_p2_off_skin": unknowns - unknowns_p2(facets[facet_group == SKIN]),
        "min_quality": float(quality.min()),
        "quality_p01": float(np.percentile(quality, 1)),
        "min_dihedral_deg": float(angle.min()),
        "dihedral_p01_deg": float(np.percentile(angle, 1)),
        "regions": regions,
        "surfaces": _surfaces(mesh, compartments),
        "islands": compartments.dropped,
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


def _adjusted(compartments, sizes, config):
    """Mesh by the first route that reaches the goals; say which, and why not the others."""
    wanted, attempts, reasons, rest = config["cells"], [], [], []
    for route in ROUTES:
        if rest and route is ROUTES[-1]:
            break
        try:
            best = _iterate(route(compartments), compartments.volumes, sizes, wanted, attempts)
        except NumericalError as error:
            reasons.append(f"{route.name}: {error}")
            log.info("no mesh by %s", reasons[-1])
            continue
        if best.reaches(_goals(wanted)):
            return best.mesh, _method(route.name, reasons, attempts)
        reasons.append(f"{route.name}: the best of the attempts has {best}")
        log.info("not reached by %s", reasons[-1])
        if best.reaches(LIMITS):
            rest.append((best.score(_goals(wanted)), route.name, best.mesh))
    if rest:
        _, name, mesh = min(rest, key=lambda found: found[0])
        return mesh, _method(name, reasons, attempts)
    cells, target, body = (100 * limit for limit in LIMITS.volumes)
    raise InputError(
        "no acceptable mesh with so many cells: " + "; ".join(reasons), file=config["file"],
        key=config["key"], value=wanted,
        allowed=f"a count, most often a larger one, that is met within {cells:g} % with the "
                f"target's volume within {target:g} %, the body's within {body:g} %, and dihedral "
                f"angles >= {LIMITS.angles[0]:g} degrees")


def _method(route, reasons, attempts):
    return {"route": route, "fallback_reason": "; ".join(reasons) or None, "attempts": attempts}


def _goals(wanted):
    """What a mesh of so many cells is held to."""
    return GOALS[max(cells for cells in GOALS if cells <= wanted)]


@dataclass
class Attempt:
    """A mesh, its dihedral angles, and count and volumes over the wanted ones.

    `angles` : (2,) see `Goals`.  `ratio` : (2 + n_surfaces,) count, target, body, organs.
    """

    mesh: Mesh
    angles: np.ndarray
    ratio: np.ndarray

    @classmethod
    def of(cls, mesh, wanted, volumes):
        body, target, *organs = mesh.volumes(len(volumes)) / volumes
        angle = smallest_dihedral(mesh.points, mesh.cells)
        return cls(mesh, np.array([angle.min(), np.percentile(angle, 1)]),
                   np.array([len(mesh.cells) / wanted, target, body, *organs]))

    def score(self, goals):
        """At most 1 when it is not worth trying again."""
        aim = np.array(AIM)[np.minimum(np.arange(len(self.ratio)), 3)]
        return max(np.max(np.abs(self.ratio - 1) / aim),
                   np.max(AIM_ANGLES * np.array(goals.angles) / np.maximum(self.angles, 1e-9)))

    def fits(self, goals):
        """Whether count, target and body are as asked."""
        return bool((np.abs(self.ratio[:3] - 1) <= goals.volumes).all())

    def reaches(self, goals):
        """Whether the angles are as well."""
        return self.fits(goals) and bool((self.angles >= goals.angles).all())

    def __str__(self):
        return (f"{len(self.mesh.cells)} cells, target volume {100 * (self.ratio[1] - 1):+.1f} %, "
                f"body {100 * (self.ratio[2] - 1):+.1f} %, smallest dihedral angle "
                f"{self.angles[0]:.1f} degrees, first percentile {self.angles[1]:.1f}")


def _iterate(route, volumes, sizes, wanted, history):
    """Mesh again with corrected size and surface volumes until all are close; the best attempt.

    Each attempt, failed or not, is appended to `history`.

    Raises
    ------
    NumericalError : no attempt gave a mesh.
    """
    size, aim, goals = sizes.size(wanted), volumes.copy(), _goals(wanted)
    best, failures = None, 0

    def polish(attempt):
        mesh = attempt.mesh
        points = polished(mesh.points, mesh.cells, mesh.group)
        return Attempt.of(Mesh(points, mesh.cells, mesh.group), wanted, volumes)

    for number in range(1, ATTEMPTS + MORE_ATTEMPTS + 1):
        try:
            mesh = Mesh(*run_isolated(fill, route, aim, sizes, size,
                                     cpu_seconds=CPU_SECONDS))
        except NumericalError as error:
            log.info("attempt %d failed: %s", number, error)
            history.append({"by": route.name, "size_m": float(size), "failure": str(error)})
            failures += 1
            if best is None and (failures == 2 or isinstance(error, OutOfTime)):
                raise
            if isinstance(error, OutOfTime) or failures == 4:
                break
            # another level and size make other surfaces
            aim, size = np.sqrt(aim * volumes) * NUDGE, size * NUDGE
            continue
        attempt = Attempt.of(mesh, wanted, volumes)
        if attempt.fits(goals):  # else it is not worth the work
            attempt = polish(attempt)
        log.info("attempt %d by %s: %s", number, route.name, attempt)
        history.append({"by": route.name, "size_m": float(size), "n_cells": len(mesh.cells),
                        "target_volume_error": float(attempt.ratio[1] - 1),
                        "min_dihedral_deg": float(attempt.angles[0]),
                        "dihedral_p01_deg": float(attempt.angles[1])})
        if best is None or ((not attempt.reaches(goals), attempt.score(goals))
                            < (not best.reaches(goals), best.score(goals))):
            best = attempt
        if best.score(goals) <= 1 or (number >= ATTEMPTS and best.reaches(goals)):
            break
        size *= attempt.ratio[0] ** (1 / COUNT_EXPONENT)
        _, target, body, *organs = np.clip(attempt.ratio, NEAREST, FARTHEST)
        aim = aim / np.array([body, target, *organs])
    return best if best.fits(goals) else polish(best)


def _faces_water(positions, anatomy):
    """Whether points of the surface are nearer to coupling water than to any other outside."""
    spacing, pad = anatomy.spacing, 2
    water = np.pad(anatomy.coupling, pad)
    other = ~water & ~np.pad(anatomy.body_mask, pad)
    index = anatomy.index(positions).T + pad
    distance = [ndimage.map_coordinates(ndimage.distance_transform_edt(~mask, sampling=spacing),
                                        index, order=1, mode="nearest") for mask in (water, other)]
    return distance[0] < distance[1]


def _surfaces(mesh, compartments):
    """Volumes that the mesh's surfaces enclose, against the voxels'."""
    names, record = ["body", *compartments.names[2:]], {}
    for name, volume, voxels in zip(names, mesh.volumes(len(names)), compartments.volumes,
                                    strict=True):
        record[name] = {"volume_m3": float(volume), "label_volume_m3": float(voxels),
                        "volume_error": float(volume / voxels - 1)}
    return record

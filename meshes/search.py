"""Search for a mesh with the wanted number of cells and volumes: routes, attempts, the best one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.errors import NumericalError
from hifuflow.isolated import OutOfTime, run_isolated
from hifuflow.job import log
from hifuflow.numerics.tetrahedra import signed_volumes, smallest_dihedral

from .compartments import REST
from .fields import Fields
from .fit import fitted
from .lost_parts import lost_voxels
from .polish import polished
from .routes import ROUTES, fill
from .settings import MeshSettings

ATTEMPTS = 6  # at most by one route
PATIENCE = 4  # attempts once count and volumes fit: further ones rarely improve the angles
AIM = 0.4  # fraction of the allowed volume errors that is good enough to stop
AIM_ANGLES = 1.05  # angles over those of the goals that are good enough to stop
ROUNDS_AT_LAST = 3  # of fitting, after the cells have been improved
CPU_SECONDS = 600  # of one attempt; a healthy one takes seconds, so only a hang reaches it
NUDGE = 1.01  # factor of size and volumes that makes another attempt differ


@dataclass(frozen=True)
class Goals:
    """Requirements on a mesh.

    Attributes
    ----------
    volumes : (4,) largest relative errors of the number of cells and of the volumes of target,
        body and organs.
    angles : (2,) least values of the smallest dihedral angle of any cell, and of its first
        percentile over the cells [degrees].
    """

    volumes: tuple
    angles: tuple


# Least number of cells -> goals. The fewer flat facets there are, the more of a rounded body they
# cut off and the fewer nodes can move. Integrals of the tissues' properties have the relative error
# of the body's volume.
GOALS = {0: Goals((0.10, 0.05, 0.03, 0.10), (8, 12)),
         9_000: Goals((0.10, 0.02, 0.01, 0.05), (8, 15)),
         100_000: Goals((0.10, 0.007, 0.01, 0.05), (8, 15))}
LIMITS = Goals((0.10, 0.05, 0.05, np.inf), (3, 3))  # accepted when no route reaches the goals


@dataclass
class Mesh:
    """A tetrahedral mesh of the compartments.

    Attributes
    ----------
    points : (n, 3) [m].  cells : (m, 4), right-handed.  group : (m,) compartment of each cell.
    """

    points: np.ndarray
    cells: np.ndarray
    group: np.ndarray

    def volumes(self, n_surfaces):
        """(n_surfaces,) volumes that the surfaces of body, target and organs enclose [m3]."""
        volume = np.bincount(self.group, signed_volumes(self.points[self.cells]), n_surfaces + 1)
        return np.array([volume.sum(), *volume[2:]])


def adjusted_mesh(compartments, sizes, settings: MeshSettings):
    """The mesh of the first route that reaches the goals, and a record of all attempts.

    If no route does, the best mesh within `LIMITS` is taken.

    Raises
    ------
    InputError : no route gives an acceptable mesh.
    """
    wanted, attempts, reasons, acceptable = settings.cells, [], [], []
    fields = Fields.finest(compartments)
    for route in ROUTES:
        if acceptable and route is ROUTES[-1]:
            break
        try:
            best = _iterate(route(compartments), compartments, fields, sizes, wanted, attempts)
        except NumericalError as error:
            reasons.append(f"{route.name}: {error}")
            log.info("no mesh by %s", reasons[-1])
            continue
        if best.reaches(goals_of(wanted)):
            return best.mesh, _method(route.name, reasons, attempts)
        reasons.append(f"{route.name}: the best of the attempts has {best}")
        log.info("not reached by %s", reasons[-1])
        if best.reaches(LIMITS):
            acceptable.append((best.score(goals_of(wanted)), route.name, best.mesh))
    if acceptable:
        _, name, mesh = min(acceptable, key=lambda entry: entry[0])
        return mesh, _method(name, reasons, attempts)
    cells, target, body = (100 * limit for limit in LIMITS.volumes[:3])
    raise settings.written.error(
        "no acceptable mesh with so many cells: " + "; ".join(reasons), "cells",
        allowed=f"a count, most often a larger one, that is met within {cells:g} % with the "
                f"target's volume within {target:g} %, the body's within {body:g} %, and dihedral "
                f"angles >= {LIMITS.angles[0]:g} degrees")


def _method(route, reasons, attempts):
    return {"route": route, "fallback_reason": "; ".join(reasons) or None, "attempts": attempts}


def goals_of(wanted):
    """Goals of a mesh with so many cells."""
    return GOALS[max(cells for cells in GOALS if cells <= wanted)]


@dataclass
class Attempt:
    """One attempt: a mesh, its dihedral angles, and its count and volumes over the wanted ones.

    Attributes
    ----------
    angles : (2,) see `Goals` [degrees].  ratio : (1 + n_surfaces,) count, target, body, organs.
    """

    mesh: Mesh
    angles: np.ndarray
    ratio: np.ndarray

    @classmethod
    def of(cls, mesh, wanted, volumes):
        """An attempt by its mesh, the wanted number of cells and the wanted volumes [m3]."""
        body, target, *organs = mesh.volumes(len(volumes)) / volumes
        angle = smallest_dihedral(mesh.points, mesh.cells)
        return cls(mesh, np.array([angle.min(), np.percentile(angle, 1)]),
                   np.array([len(mesh.cells) / wanted, target, body, *organs]))

    def score(self, goals):
        """Badness; at most 1 when a further attempt is not worthwhile."""
        return max(np.max(self._errors(goals)) / AIM,
                   np.max(AIM_ANGLES * np.array(goals.angles) / np.maximum(self.angles, 1e-9)))

    def _errors(self, goals):
        """Relative errors of the count and the volumes, over the allowed ones."""
        allowed = np.array(goals.volumes)[np.minimum(np.arange(len(self.ratio)), 3)]
        return np.abs(self.ratio - 1) / allowed

    def fits(self, goals):
        """Whether count and volumes are within the goals."""
        return bool((self._errors(goals) <= 1).all())

    def reaches(self, goals):
        """Whether count, volumes and angles are within the goals."""
        return self.fits(goals) and bool((self.angles >= goals.angles).all())

    def __str__(self):
        organs = max(self.ratio[3:] - 1, key=abs, default=None)
        worst = "" if organs is None else f", worst organ {100 * organs:+.1f} %"
        return (f"{len(self.mesh.cells)} cells, target volume {100 * (self.ratio[1] - 1):+.1f} %, "
                f"body {100 * (self.ratio[2] - 1):+.1f} %{worst}, smallest dihedral angle "
                f"{self.angles[0]:.1f} degrees, first percentile {self.angles[1]:.1f}")


def _lost_volume(mesh, compartments) -> float:
    """Volume of the parts too thin for the cells [m3]; nothing else may grow to replace it."""
    lost = lost_voxels(mesh.points, mesh.cells, compartments.mask(REST), compartments.origin,
                       compartments.spacing)
    return float(lost.sum() * np.prod(compartments.spacing))


def _iterate(route, compartments, fields, sizes, wanted, history):
    """The best of several attempts, each with the cell size corrected by the one before.

    Each attempt, failed or not, is appended to `history`.

    Raises
    ------
    NumericalError : no attempt gave a mesh.
    """
    volumes = compartments.volumes
    size, aim, goals = sizes.size(wanted), volumes.copy(), goals_of(wanted)
    best, failures, whole = None, 0, True

    def finish(mesh):
        """Fit the surfaces to the voxels', and improve the worst cells."""
        points = fitted(mesh.points, mesh.cells, mesh.group, fields)
        points = polished(points, mesh.cells, mesh.group)
        points = fitted(points, mesh.cells, mesh.group, fields, ROUNDS_AT_LAST)
        return Attempt.of(Mesh(points, mesh.cells, mesh.group), wanted, volumes)

    for number in range(1, ATTEMPTS + 1):
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
            # other levels and sizes give other surfaces
            aim, size = np.sqrt(aim * volumes) * NUDGE, size * NUDGE
            continue
        attempt = finish(mesh)
        if whole and attempt.ratio[2] < 1 - goals.volumes[2]:
            whole, volumes = False, volumes.copy()
            volumes[0] -= _lost_volume(attempt.mesh, compartments)
            attempt = Attempt.of(attempt.mesh, wanted, volumes)
        log.info("attempt %d by %s: %s", number, route.name, attempt)
        history.append({"by": route.name, "size_m": float(size), "n_cells": len(mesh.cells),
                        "target_volume_error": float(attempt.ratio[1] - 1),
                        "min_dihedral_deg": float(attempt.angles[0]),
                        "dihedral_p01_deg": float(attempt.angles[1])})
        if best is None or ((not attempt.reaches(goals), attempt.score(goals))
                            < (not best.reaches(goals), best.score(goals))):
            best = attempt
        if best.score(goals) <= 1 or (number >= PATIENCE and best.fits(goals)):
            break
        size = sizes.size(sizes.cells(size) / attempt.ratio[0])
        aim = aim * NUDGE  # other surfaces, in case their shape was the problem
    return best

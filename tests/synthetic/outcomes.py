"""What becomes of a patient: refused by whom and why, or how well it can be treated."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from hifuflow.acoustics.grid import check_grid
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.constraints import place_constraints
from hifuflow.anatomy.settings import AnatomySettings, ConstraintSettings
from hifuflow.errors import HifuflowError
from hifuflow.fem.point_evaluation import closest_point_on_triangle
from hifuflow.meshes.build import check_cells
from hifuflow.meshes.facets import boundary_facets
from hifuflow.meshes.lost_parts import _inside
from hifuflow.meshes.search import adjusted_mesh
from hifuflow.meshes.settings import MeshSettings
from hifuflow.study.patient import load_patient

NEAREST = 32  # facets by their centroids among which the closest is looked for


@dataclass
class Outcome:
    """Of one patient.

    Attributes
    ----------
    name : its name.  refusal : the error's first words, "" if it can be treated.
    reach : part of the target within reach of the foci's heat.
    points : number of constraint points.
    outside : how far in voxels the farthest constraint point lies outside of the mesh; 0 without.
    seconds : CPU time [s] by step.
    """

    name: str
    refusal: str = ""
    reach: float = 0.0
    points: int = 0
    outside: float = 0.0
    seconds: dict = field(default_factory=dict)


def outcome(path, mesh: bool) -> Outcome:
    """Check a patient as the workflow's first steps do, up to its control mesh if wanted."""
    patient, found = load_patient(path), Outcome(path.stem)
    try:
        anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
        constraints = place_constraints(anatomy,
                                        ConstraintSettings.read(patient.section("constraints")))
        plan = plan_treatment(anatomy, PlanSettings.read(patient.section("plan")))
        found.reach = plan.spread_coverage
        found.points = len(constraints["position_m"])
        check_grid(anatomy, plan, HeatingSettings.read(patient.section("heating")))
        settings = MeshSettings.read(patient.section("mesh", "control"))
        compartments, sizes, _ = check_cells(anatomy, plan, settings)
        if mesh:
            made, _ = adjusted_mesh(compartments, sizes, settings)
            found.outside = outside_mesh(np.array(constraints["position_m"]), made.points,
                                         made.cells) / anatomy.spacing.max()
    except HifuflowError as error:
        found.refusal = str(error)
    return found


def outside_mesh(places, points, cells) -> float:
    """How far the farthest of the places (n, 3) lies outside of a mesh [m]."""
    away = places[~_inside(places, points[cells])]
    if not len(away):
        return 0.0
    corners = points[boundary_facets(cells)]
    near = cKDTree(corners.mean(axis=1)).query(away, k=min(NEAREST, len(corners)))[1]
    return max(np.linalg.norm(closest_point_on_triangle(
        np.broadcast_to(place, (len(some), 3)), corners[some]) - place, axis=1).min()
        for place, some in zip(away, near, strict=True))

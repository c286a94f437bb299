"""Thorough check of a patient file: the workflow's first steps, and checks of the later ones.

What later steps would refuse before they compute is refused here. Nothing is meshed.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hifuflow.acoustics.grid import check_grid
from hifuflow.acoustics.plan import plan_treatment
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.acoustics.transducer import Transducer
from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.constraints import place_constraints
from hifuflow.anatomy.settings import AnatomySettings, ConstraintSettings
from hifuflow.errors import InputError, raise_faults
from hifuflow.meshes.build import check_cells
from hifuflow.meshes.settings import MeshSettings
from hifuflow.meshes.surfaces import SmoothMask
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.mesh_groups import GROUP_OF
from hifuflow.reduction.given import check_fits, read_given

from .patient import Patient

STEPS = 40  # as `meshes.routes` draws the surface of the body


def check_thoroughly(patient: Patient) -> tuple[str, list[str]]:
    """Check a patient by the first steps of the workflow: a summary in one line, and warnings.

    Raises
    ------
    HifuflowError : an error that the workflow would raise, if it can be known before meshing.
    """
    planned = PlanSettings.read(patient.section("plan"))
    Transducer.of(planned.transducer)  # at once, however large the images are
    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    check_surfaces(anatomy, patient)
    constraints = place_constraints(anatomy,
                                    ConstraintSettings.read(patient.section("constraints")))
    plan = plan_treatment(anatomy, planned)
    for model in ("control", "plant"):
        check_cells(anatomy, plan, MeshSettings.read(patient.section("mesh", model)))
    check_grid(anatomy, plan, HeatingSettings.read(patient.section("heating")))
    if patient.reduced_model:
        check_fits(read_given(patient.reduced_model), patient.reduced_model, plan.foci,
                   points=constraints["position_m"])
    target = anatomy.target_mask.sum() * anatomy.voxel_volume
    body = anatomy.body_mask.sum() * anatomy.voxel_volume
    warnings = [*anatomy.record["notes"], *constraints["notes"], *plan.warnings,
                *_shared_names(patient), *outside_mesh(anatomy, constraints)]
    return (f"Target {target * 1e6:.2f} ml in {body * 1e6:.0f} ml of body, "
            f"{len(plan.foci)} foci within reach of {plan.spread_coverage:.0%} of the target, "
            f"{len(constraints['position_m'])} constraint points, "
            f"controllers: {', '.join(patient.controllers)}"), warnings


def check_surfaces(anatomy: Anatomy, patient: Patient) -> None:
    """Check the conditions at skin and cut against the surfaces that the body has.

    Raises
    ------
    InputError : the cut has a condition but the body has no cut, or nothing fixes the temperature.
    """
    body, free = np.pad(anatomy.body_mask, 1), np.pad(anatomy.coupling | anatomy.air, 1)
    border = ndimage.binary_dilation(body) & ~body
    there = {"skin": bool((border & free).any()), "cut": bool((border & ~free).any())}
    conditions = {name: patient.config["boundary"][name] for name in there}
    faults = [InputError("this body has no such surface", file=patient.file.name,
                         key=f"boundary.{name}", value=conditions[name], allowed="insulated")
              for name in there if conditions[name] != "insulated" and not there[name]]
    raise_faults(faults)
    for model in ("control", "plant"):
        section = patient.section("assemble", model)
        factors = section["deviations"]
        flow = [section["tissues"][region["tissue"]]["perfusion_kg_m3_s"]
                * factors["perfusion_factor"]
                * factors["regions"].get(name, {}).get("perfusion_factor", 1)
                for name, region in anatomy.regions.items()]
        if all(one == "insulated" for one in conditions.values()) and not any(flow):
            raise InputError(f"nothing fixes the temperature of the {model} model: both surfaces "
                             "are insulated and nothing inside is perfused",
                             file=patient.file.name, key="boundary",
                             allowed="temperature_c on a surface, or perfusion in a tissue")


def outside_mesh(anatomy: Anatomy, constraints: dict) -> list[str]:
    """A warning if points stand where the body is so thin that no mesh may follow it.

    The mesh's surface is that of the smoothed body; points more than half a voxel outside of the
    mesh are refused by the model, once there is one.
    """
    points = np.asarray(constraints["position_m"])
    body = ndimage.binary_fill_holes(anatomy.body_mask)
    mask = SmoothMask(body, anatomy.affine[:3, 3], anatomy.spacing, STEPS)
    hollow = mask.values <= mask.level(body.sum() * anatomy.voxel_volume)
    away = ndimage.distance_transform_edt(hollow, sampling=mask.step)  # from nodes of a grid
    outside = ndimage.map_coordinates(away, ((points - mask.origin) / mask.step).T, order=1,
                                      mode="nearest")
    far = outside > 0.5 * anatomy.spacing.max() + mask.step.max()
    if not far.any():
        return []
    worst = points[outside.argmax()] * 1e3
    return [f"{far.sum()} of {len(points)} constraint points stand where the body is thinner than "
            f"a mesh can follow, e.g. at ({worst[0]:.1f}, {worst[1]:.1f}, {worst[2]:.1f}) mm, and "
            "may be refused once it is meshed: greater depth_mm or smaller reach_mm avoid that"]


def _shared_names(patient: Patient) -> list[str]:
    return [f"region '{name}' is called as a surface of the mesh: its volume group there is "
            f"'{GROUP_OF[name]}'" for name in patient.config["regions"] if name in GROUP_OF]

"""Check patient files and all they refer to, before anything is computed.

Does what the first steps of a run do, and what the next ones check before they compute. Every
fault is named with its file, key and value and with what is allowed; then the exit status is 2.

  hifuflow validate anna.yaml
  hifuflow validate study/*.yaml
"""

from __future__ import annotations

import sys

from .completion import patient_files
from .messages import each


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("files", nargs="+", metavar="PATIENT.yaml").completer = patient_files


def main(arguments) -> int:
    """Check each of the files."""
    return each(arguments.files, check)


def check(file) -> str:
    """A line about a patient file that can be treated.

    Raises
    ------
    HifuflowError : it cannot.
    """
    from hifuflow.acoustics.grid import check_grid
    from hifuflow.acoustics.plan import plan_treatment
    from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
    from hifuflow.anatomy.build import build_anatomy
    from hifuflow.anatomy.constraints import place_constraints
    from hifuflow.anatomy.settings import AnatomySettings, ConstraintSettings
    from hifuflow.meshes.build import check_cells
    from hifuflow.meshes.settings import MeshSettings
    from hifuflow.study.patient import check_name, load_patient

    check_name(file)
    patient = load_patient(file)
    anatomy = build_anatomy(AnatomySettings.read(patient.section("anatomy")))
    constraints = place_constraints(anatomy,
                                    ConstraintSettings.read(patient.section("constraints")))
    plan = plan_treatment(anatomy, PlanSettings.read(patient.section("plan")))
    for model in ("control", "plant"):
        check_cells(anatomy, plan, MeshSettings.read(patient.section("mesh", model)))
    check_grid(anatomy, plan, HeatingSettings.read(patient.section("heating")))
    if patient.reduced_model:
        from hifuflow.reduction.given import check_fits, read_given

        check_fits(read_given(patient.reduced_model), patient.reduced_model, plan.foci,
                   points=constraints["position_m"])
    for warning in plan.warnings:
        print(f"WARNING {patient.file}: {warning}", file=sys.stderr)
    target = anatomy.target_mask.sum() * anatomy.voxel_volume
    body = anatomy.body_mask.sum() * anatomy.voxel_volume
    return (f"{patient.file}: usable. Target {target * 1e6:.2f} ml in {body * 1e6:.0f} ml of body, "
            f"{len(plan.foci)} foci, {len(constraints['position_m'])} constraint points, "
            f"controllers: {', '.join(patient.controllers)}")

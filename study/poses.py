"""From where a patient could be treated: the best directions, and what each would come to."""

from __future__ import annotations

import numpy as np

from hifuflow.acoustics.grid import check_grid
from hifuflow.acoustics.plan import plan_treatment, skin_entry
from hifuflow.acoustics.settings import HeatingSettings, PlanSettings
from hifuflow.anatomy.build import build_anatomy, pose_candidates
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.errors import HifuflowError

from .patient import Patient

COUNT = 10


def pose_lines(patient: Patient) -> list[str]:
    """One line for each of the ten best directions that lie 10 degrees apart, best first.

    Axis, heat per watt at the target over that of the best, depth of the target's centre along it,
    part of the beam that is blocked, and what of the target foci reach, or why a run would refuse.

    Raises
    ------
    InputError : as `build_anatomy`; no direction at all.
    """
    lines = [f"{'axis (R, A, S)':>24}  heat/W  depth  blocked  foci"]
    for axis, heat in pose_candidates(AnatomySettings.read(patient.section("anatomy")), COUNT):
        rounded = [round(float(value), 3) for value in axis]
        text = ", ".join(f"{value:.3f}" for value in rounded)
        lines.append(f"{f'[{text}]':>24}  {heat:5.0%}  {_outcome(patient, rounded)}")
    return lines


def _outcome(patient: Patient, axis: list[float]) -> str:
    """Depth, blocked part and reach of a treatment along an axis, or why there is none."""
    def along(rule):
        section = patient.section(rule)
        return {**section, "transducer": {**section["transducer"], "axis": axis}}

    try:
        anatomy = build_anatomy(AnatomySettings.read(along("anatomy")))
        settings = PlanSettings.read(along("plan"))
        plan = plan_treatment(anatomy, settings)
        check_grid(anatomy, plan, HeatingSettings.read(patient.section("heating")))
    except HifuflowError as error:
        return f"refused: {error.args[0]}"
    centre = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0)
    depth = (centre - skin_entry(anatomy, centre, anatomy.axis, settings.pose)) @ anatomy.axis
    return (f"{depth * 1e3:3.0f} mm  {anatomy.beam['blocked_fraction']:7.0%}  {len(plan.foci)}, "
            f"within reach of {plan.spread_coverage:.0%} of the target")

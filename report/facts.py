"""Numbers the report derives from a treatment, and their comparison with the reference paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hifuflow.report.figures.treatment import treated_by_slice
from hifuflow.report.figures.view import View

from .inputs import ReportInputs

MISSING = "not computed"
REFERENCE_PATIENT = "breast_reference"


def untreated(anatomy, trajectory, dose: float, view: View) -> dict:
    """The part of the target that stays below `dose`: {"volume" [m3], "fraction", "where"}.

    `where` is in words: the range of slices, and whether they are those nearest the transducer.
    """
    heights, treated, volume = treated_by_slice(anatomy, trajectory, dose, view)
    missing = treated < 1
    amount = float(((1 - treated) * volume).sum())
    result = {"volume": amount, "fraction": amount / float(volume.sum()), "where": "none"}
    if missing.any():
        # From the skin inwards; a nearer surface has a smaller depth along the beam.
        order = np.arange(len(heights)) if view.deeper_is_larger else np.arange(len(heights))[::-1]
        behind = np.flatnonzero(missing[order])
        name = view.name(view.upright)
        if behind[-1] == len(behind) - 1 and not missing.all():
            sign = "<" if view.deeper_is_larger else ">"
            first_done = heights[order[len(behind)]]
            result["where"] = f"nearest the skin, {name} {sign} {first_done * 100:.2f} cm"
        else:
            low, high = heights[missing].min(), heights[missing].max()
            result["where"] = f"{name} = {low * 100:.2f} to {high * 100:.2f} cm"
    return result


@dataclass(frozen=True)
class Compared:
    """One line of the comparison with the reference paper, as text."""

    what: str
    paper: str
    here: str


def compare_with_paper(inputs: ReportInputs) -> list[Compared]:
    """The reference paper's numbers beside those of this run; empty for any other patient.

    The paper's numbers are in its section III, for 22 W, 240 CEM43 and 6 K above 37 °C.
    """
    if inputs.patient != REFERENCE_PATIENT:
        return []
    cells = {model: record.get("n_cells") for model, record in inputs.mesh_records.items()}
    plane = inputs.plan.foci @ inputs.view.upright * 100
    rows = [
        ("Tetrahedra, control model", "9,299", _count(cells.get("control"))),
        ("Tetrahedra, patient model", "15,911", _count(cells.get("plant"))),
        ("Unknowns, control model", "13,523", _unknowns(inputs, "control")),
        ("Unknowns, patient model", "22,674", _unknowns(inputs, "plant")),
        ("States of the reduced model", "1,143", _count(inputs.rom_order)),
        ("Constrained locations", "209", _count(len(inputs.constraints["position_m"]))),
        ("Foci", "45", _count(len(inputs.plan.foci))),
        ("Focal plane", "z = 2.4 cm", _range("z", plane)),
    ]
    if inputs.treatments:
        name = "paper" if "paper" in inputs.treatments else next(iter(inputs.treatments))
        trajectory, metrics = inputs.treatments[name]
        left_out = untreated(inputs.anatomy, trajectory, inputs.prescription.dose,
                             inputs.view)
        overshoot = metrics.get("max_overshoot_k")
        rows += [
            ("First focus held", "about 12 s, until a constraint", _first_focus(metrics)),
            ("Full power by switching foci, from the start", "about 52 s (12 s and 40 s)",
             _seconds(metrics.get("full_power_s"))),
            ("Power afterwards", "on and off",
             _on_off(trajectory, metrics, inputs.prescription.max_power)),
            ("Time to 90 % of the target at the dose", "not given",
             _seconds(metrics.get("time_to_t90_s"))),
            ("Limit of 43 °C", "occasionally violated",
             MISSING if overshoot is None else
             f"exceeded by up to {overshoot:.2f} K" if round(overshoot, 2) > 0 else "kept"),
            ("Part left untreated", "nearest the skin, z < 2.1 cm",
             left_out["where"] + (f" ({100 * left_out['fraction']:.1f} % of the target)"
                                  if left_out["volume"] else "")),
        ]
    return [Compared(*row) for row in rows]


def _unknowns(inputs: ReportInputs, model: str) -> str:
    """Number of all nodes, as the paper counts them, and of those that are free unknowns."""
    total = inputs.mesh_records.get(model, {}).get("n_unknowns_p2")
    free = inputs.unknowns.get(model)
    if total is None or free is None:
        return MISSING
    return f"{total:,}, {free:,} of them free"


def _first_focus(metrics: dict) -> str:
    duration, limit = metrics.get("first_focus_hold_s"), metrics.get("first_focus_limit_s")
    if duration is None or limit is None or duration >= limit:
        return f"{_seconds(duration)}, until a constraint"
    return f"{_seconds(duration)}, until its dose was reached; a constraint would end it at " \
        f"{_seconds(limit)}"


def _on_off(trajectory, metrics: dict, max_power: float) -> str:
    """Fraction of samples at zero or full power, after the power was first switched off."""
    start, end = metrics.get("full_power_s"), metrics.get("treatment_time_s")
    if start is None or end is None:
        return MISSING
    total = trajectory.power[(trajectory.t >= start) & (trajectory.t < end)].sum(axis=1)
    if not len(total):
        return "never off"
    extreme = np.mean((total < 0.001 * max_power) | (total > 0.999 * max_power))
    return f"{100 * extreme:.0f} % of the samples at 0 or {max_power:g} W"


def _seconds(value) -> str:
    return MISSING if value is None else f"{value:,.0f} s"


def _count(value) -> str:
    return MISSING if value is None else f"{value:,}"


def _range(name, values) -> str:
    low, high = np.round([values.min(), values.max()], 2)
    return f"{name} = {low:g} cm" if low == high else f"{name} = {low:g} to {high:g} cm"

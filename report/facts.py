"""Numbers the report derives from a treatment, and their comparison with the reference paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .inputs import ReportInputs
from .treatment_figures import treated_by_slice
from .view import View

MISSING = "not computed"
REFERENCE_PATIENT = "breast_reference"


def first_focus_time(trajectory) -> float:
    """Seconds for which the first powered focus stays the one with the most power."""
    on = np.flatnonzero(trajectory.power.sum(axis=1) > 0)
    if not len(on):
        return 0.0
    power = trajectory.power[on[0]:]
    same = (power.argmax(axis=1) == power[0].argmax()) & (power.sum(axis=1) > 0)
    return _held(trajectory.t[on[0]:], same)


def full_power_time(trajectory, max_power: float) -> float:
    """Seconds from the first power on during which the total stays at `max_power` [W]."""
    on = np.flatnonzero(trajectory.power.sum(axis=1) > 0)
    if not len(on):
        return 0.0
    full = trajectory.power[on[0]:].sum(axis=1) >= 0.999 * max_power
    return _held(trajectory.t[on[0]:], full)


def _held(t, state) -> float:
    """Time from t[0] until `state` is first false; sample k acts until t[k + 1]."""
    if state.all():
        return float(t[-1] - t[0])
    return float(t[np.argmin(state)] - t[0])


def untreated(anatomy, trajectory, dose: float, view: View) -> dict:
    """What of the target stays below `dose`: {"volume", "fraction", "where"}.

    `where` is words: the range of slices, and whether they are those nearest the transducer.
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
    """One line of the comparison with the paper, as text."""

    what: str
    paper: str
    here: str


def compare_with_paper(inputs: ReportInputs) -> list[Compared]:
    """The reference paper's numbers beside those of this run; empty for any other patient.

    The paper's figures are in its section III: 22 W, 240 CEM43, 6 K above 37 °C.
    """
    if inputs.patient != REFERENCE_PATIENT:
        return []
    cells = {model: record.get("n_cells") for model, record in inputs.mesh_records.items()}
    unknowns = {"control": inputs.certificate.get("full_order"), **inputs.unknowns}
    plane = inputs.plan.foci @ inputs.view.upright * 100
    rows = [
        ("Tetrahedra, control model", "9,299", _count(cells.get("control"))),
        ("Tetrahedra, patient model", "15,911", _count(cells.get("plant"))),
        ("Unknowns, control model", "13,523", _count(unknowns.get("control"))),
        ("Unknowns, patient model", "22,674", _count(unknowns.get("plant"))),
        ("States of the reduced model", "1,143", _count(inputs.rom_order)),
        ("Constrained locations", "209", _count(len(inputs.constraints["position_m"]))),
        ("Foci", "45", _count(len(inputs.plan.foci))),
        ("Focal plane", "z = 2.4 cm", _range("z", plane)),
    ]
    if inputs.treatments:
        name = "paper" if "paper" in inputs.treatments else next(iter(inputs.treatments))
        trajectory, metrics = inputs.treatments[name]
        power = inputs.prescription["max_power_w"]
        left = untreated(inputs.anatomy, trajectory, inputs.prescription["dose_cem43_min"],
                         inputs.view)
        overshoot = metrics.get("max_overshoot_k")
        rows += [
            ("First focus held", "about 12 s", f"{first_focus_time(trajectory):.0f} s"),
            ("Full power from the start", "about 40 s",
             f"{full_power_time(trajectory, power):.0f} s"),
            ("Limit of 43 °C", "occasionally violated",
             MISSING if overshoot is None else
             f"exceeded by up to {overshoot:.2f} K" if round(overshoot, 2) > 0 else "kept"),
            ("Part left untreated", "nearest the skin, z < 2.1 cm",
             left["where"] + (f" ({left['fraction']:.1%} of the target)"
                              if left["volume"] else "")),
        ]
    return [Compared(*row) for row in rows]


def _count(value) -> str:
    return MISSING if value is None else f"{value:,}"


def _range(name, values) -> str:
    low, high = np.round([values.min(), values.max()], 2)
    return f"{name} = {low:g} cm" if low == high else f"{name} = {low:g} to {high:g} cm"

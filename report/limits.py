"""Table of each controller's metrics and their limits, as text with a verdict.

Red means that a safety limit was exceeded or the treatment aborted, amber that a goal was not
reached, green that a limit was kept or a goal reached. Values without a limit get no verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hifuflow.numerics.undershoot import SAID

from .facts import MISSING
from .goals import ABLATION, Goal, hyperthermia_goals, is_hyperthermia
from .inputs import ReportInputs

STATUS = {"complete": ("green", "reached"), "timeout": ("amber", "not reached"),
          "unreachable": ("amber", "not reached"), "aborted": ("red", "stopped early")}

# Limits that are not the value of a key -> the key from which they come.
SOURCE = {"overshoot": "constraints", "undershoot": "mesh.plant.cells"}


@dataclass(frozen=True)
class Cell:
    """One cell of the table: text, and verdict ("green", "amber", "red" or "") with its words."""

    text: str
    level: str = ""
    words: str = ""


@dataclass(frozen=True)
class Row:
    """One row of the table: the metric, its limit and the source of that, a cell per controller."""

    key: str
    label: str
    limit: str
    source: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Metric:
    """One entry of `metrics.json`: how it is shown, and its limit.

    `limit` is a dotted key of the patient's configuration, or one of `SOURCE`; `sense` says which
    side is good; `safety` makes a broken limit red instead of amber; `absent` is what a missing
    value means.
    """

    key: str
    label: str
    scale: float
    digits: int
    unit: str
    limit: str = ""
    sense: str = "at most"
    safety: bool = False
    absent: str = MISSING

    def show(self, value) -> str:
        """The value as text, in the shown unit."""
        if value is None or (not math.isfinite(value)):
            return self.absent
        return f"{value * self.scale:,.{self.digits}f}{self.unit}"

    def show_limit(self, limit) -> str:
        """The limit as text, without trailing zeros."""
        text = f"{limit * self.scale:,.{self.digits}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return f"{self.sense} {text}{self.unit}"


METRICS = (
    Metric("coverage", "Target's volume at the prescribed dose", 100, 1, " %",
           "prescription.coverage", "at least"),
    Metric("t90_cem43_min", "Dose reached by 90 % of the target (CEM43 T90)", 1, 0, " CEM43",
           "prescription.dose_cem43_min", "at least"),
    Metric("treatment_time_s", "Treatment time", 1, 0, " s", "prescription.max_time_s"),
    Metric("time_to_t90_s", "Time until 90 % is treated", 1, 0, " s", absent="not reached"),
    Metric("max_constraint_temperature_c", "Hottest constrained location", 1, 2, " °C",
           "constraints.limit_c", safety=True),
    Metric("max_overshoot_k", "Highest overshoot of a limit", 1, 2, " K", "overshoot",
           safety=True),
    Metric("overshoot_k_s", "Overshoot integrated over time", 1, 1, " K s"),
    Metric("max_target_temperature_c", "Hottest place in the target", 1, 1, " °C",
           "safety.max_target_c", safety=True),
    Metric("min_temperature_c", "Coldest constrained or target location", 1, 2, " °C"),
    Metric("max_baseline_undershoot_k", "Computed below the temperature before treatment", 1, 2,
           " K", "undershoot"),
    Metric("damaged_normal_volume_m3", "Tissue outside the target at 240 CEM43", 1e6, 2, " ml"),
    Metric("damaged_target_volume_m3", "Tissue in the target at 240 CEM43", 1e6, 2, " ml"),
    Metric("max_power_w", "Highest acoustic power", 1, 1, " W", "prescription.max_power_w",
           safety=True),
    Metric("on_time_s", "Time with power on", 1, 0, " s"),
    Metric("energy_j", "Acoustic energy", 1e-3, 2, " kJ"),
    Metric("estimator_rmse_k", "Error of the estimated temperatures (RMS)", 1, 2, " K"),
    Metric("step_time_p50_s", "Control step, median", 1e3, 1, " ms"),
    Metric("step_time_p99_s", "Control step, 99th percentile", 1e3, 1, " ms",
           "thermometry.interval_s"),
    Metric("n_foci", "Foci", 1, 0, ""),
    Metric("n_constraints", "Constrained locations", 1, 0, ""),
    Metric("rom_order", "States of the reduced model", 1, 0, ""),
)


def limit_table(inputs: ReportInputs) -> list[Row]:
    """The table of all metrics, one row each, with a verdict where there is a limit."""
    metrics = {name: {"max_power_w": float(trajectory.power.sum(axis=1).max()), **record}
               for name, (trajectory, record) in inputs.treatments.items()}
    status = tuple(status_cell(record.get("status")) for record in metrics.values())
    rows = [Row("status", "Status", "complete", "", status)]
    rows += _held(list(metrics.values()), inputs)
    for metric in METRICS:
        limit = _limit(metric, inputs)
        cells = tuple(metric_cell(metric, record, limit) for record in metrics.values())
        source = SOURCE.get(metric.limit, metric.limit)
        rows.append(Row(metric.key, metric.label,
                        metric.show_limit(limit) if limit is not None else "",
                        source if limit is not None else "", cells))
        if metric.key == "overshoot_k_s":
            rows += _each_constraint([record.get("constraints", {}) for record in metrics.values()])
    return rows


def _held(metrics: list[dict], inputs: ReportInputs) -> list[Row]:
    """Rows with the goals of treatments that hold a temperature, if there are any."""
    if not any(map(is_hyperthermia, metrics)):
        return []
    return [Row(goal.key, goal.label, goal.limit, goal.source,
                tuple(goal_cell(goal, one) for one in metrics))
            for goal in hyperthermia_goals(inputs.settings.hold)]


def goal_cell(goal: Goal, metrics: dict) -> Cell:
    """A hyperthermia treatment's value and verdict by its goal; empty for other treatments."""
    if not is_hyperthermia(metrics):
        return Cell("")
    value = metrics.get(goal.key)
    if value is None:
        return Cell("never held", "amber", "not reached")
    if not goal.limit:
        return Cell(goal.show(value))
    return (Cell(goal.show(value), "green", "reached") if goal.reached(value)
            else Cell(goal.show(value), "amber", "not reached"))


def metric_cell(metric: Metric, metrics: dict, limit: float | None) -> Cell:
    """A treatment's metric and verdict by its limit; an ablation's goals judge nothing else."""
    value = metrics.get(metric.key)
    if metric.key in ABLATION and is_hyperthermia(metrics):
        return Cell("–" if value is None else metric.show(value))
    return verdict(metric, value, limit)


def _each_constraint(constraints: list[dict]) -> list[Row]:
    """Rows with the overshoot of each of several constraints, and the dose where it is limited.

    `constraints` : that entry of each controller's `metrics.json`.
    """
    listed, rows = (constraints[0] if constraints and all(constraints) else {}), []
    for name, constraint in listed.items():
        note = ", soft" if constraint["soft"] else ""
        limits = [("max_overshoot_k", "Highest overshoot", 2, " K",
                   0.0 if len(listed) > 1 else None),
                  ("max_dose_cem43_min", "Highest dose", 1, " CEM43",
                   constraint["dose_limit_cem43_min"])]
        for key, label, digits, unit, limit in limits:
            if limit is not None:
                metric = Metric(key, f"{label}, {name} ({constraint['n_points']} locations)", 1,
                                digits, unit, safety=not constraint["soft"])
                cells = tuple(verdict(metric, record[name][key], limit) for record in constraints)
                rows.append(Row(f"{name}.{key}", metric.label, metric.show_limit(limit) + note,
                                "constraints", cells))
    return rows


def status_cell(status) -> Cell:
    """The status of a treatment in words."""
    level, words = STATUS.get(status, ("", ""))
    return Cell(str(status or MISSING), level, words)


def _limit(metric: Metric, inputs: ReportInputs) -> float | None:
    if not metric.limit:
        return None
    if metric.limit == "overshoot":
        return 0.0
    if metric.limit == "undershoot":
        return SAID
    if metric.limit == "constraints.limit_c":
        limits = np.unique(inputs.constraints.get("limit_c", []))
        return float(limits[0]) if len(limits) == 1 else None
    return inputs.settings.limits[metric.limit]


def verdict(metric: Metric, value, limit: float | None) -> Cell:
    """A metric's value as text, with a verdict if there is a limit."""
    text = metric.show(value)
    if limit is None or text == metric.absent:
        return Cell(text)
    # The verdict is on the shown value: a difference below the last digit is rounding.
    shown, bound = (round(number * metric.scale, metric.digits) for number in (value, limit))
    if metric.sense == "at least":
        # But a missed goal must not be rounded up to "reached".
        kept = shown >= bound and value >= limit * (1 - 1e-9)
        return Cell(text, "green", "reached") if kept else Cell(text, "amber", "not reached")
    if shown <= bound:
        return Cell(text, "green", "kept")
    return Cell(text, "red" if metric.safety else "amber", "exceeded")

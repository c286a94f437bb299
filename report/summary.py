"""Summary of several patients or variants: one page, and one table for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import PercentFormatter

from hifuflow.formats.hdf5 import open_artifact
from hifuflow.job import atomic, read_json
from hifuflow.report.figures.style import SERIES, new_figure, style

from .goals import hyperthermia_goals, is_hyperthermia
from .html_page import write_page
from .limits import METRICS, Cell, goal_cell, metric_cell, status_cell
from .settings import SummarySettings

COLUMNS = {"time_to_t90_s": "90 % treated after", "treatment_time_s": "Treatment",
           "coverage": "Target treated", "max_overshoot_k": "Overshoot",
           "max_target_temperature_c": "Hottest in target",
           "damaged_normal_volume_m3": "Normal tissue at 240 CEM43", "energy_j": "Energy"}
HELD_COLUMNS = {"held_mean_c": "Held mean", "held_t90_c": "T90", "held_t50_c": "T50",
                "held_t10_c": "T10", "time_in_window_fraction": "Time in window",
                "held_s": "Held for"}
SHARED_COLUMNS = ("treatment_time_s", "max_overshoot_k", "max_target_temperature_c",
                  "damaged_normal_volume_m3", "energy_j")  # of ablation and hyperthermia
DASHES = ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2)))


@dataclass(frozen=True)
class Treatment:
    """One controller's treatment of one patient: its metrics, and the fraction treated over time.

    Attributes
    ----------
    t : (n_t,) [s].  coverage : (n_t,) fraction of the target treated.
    """

    patient: str
    controller: str
    metrics: dict
    t: np.ndarray
    coverage: np.ndarray

    @classmethod
    def load(cls, folder: Path, patient: str, controller: str) -> Treatment:
        """Read one treatment from the results folder."""
        control = folder / patient / "control" / controller
        with open_artifact(control / "trajectory.h5", "trajectory") as file:
            return cls(patient, controller, read_json(control / "metrics.json"), file["t"][:],
                       file["coverage"][:])


@dataclass(frozen=True)
class Failure:
    """A failed step of a patient: its name, the error, and the path of its log."""

    patient: str
    step: str
    error: str
    log: str


def write_summary(folder, settings: SummarySettings, page, table,
                  failed: list[Failure] = ()) -> None:
    """Write `summary.html` and `summary.csv`; treatments without results are left out.

    Parameters
    ----------
    folder : the results folder.  page, table : files to write.
    failed : steps that failed in this run.
    """
    treatments = [Treatment.load(Path(folder), patient, controller)
                  for patient, names in settings.controllers.items() for controller in names
                  if _finished(Path(folder) / patient / "control" / controller)]
    _write_table(treatments, table)
    hyperthermia = [one for one in treatments if is_hyperthermia(one.metrics)]
    ablation = [one for one in treatments if not is_hyperthermia(one.metrics)]
    tables = [
        {"caption": "Ablation", "labels": ["Status", *COLUMNS.values()],
         "rows": [_row(one, _cells(one, settings), folder, page, failed) for one in ablation]},
        {"caption": "Hyperthermia", "labels": ["Status", *HELD_COLUMNS.values(),
                                               *(COLUMNS[key] for key in SHARED_COLUMNS)],
         "rows": [_row(one, _held_cells(one, settings), folder, page, failed)
                  for one in hyperthermia]}]
    write_page(page, "summary.html.j2", tables=[table for table in tables if table["rows"]],
               failures=failed, figure=_figure(ablation) if ablation else None)


def _finished(control: Path) -> bool:
    return all((control / name).is_file() for name in ("metrics.json", "trajectory.h5"))


def _row(one: Treatment, cells: list[Cell], folder, page, failed) -> dict:
    report = Path(folder) / one.patient / "report" / "index.html"
    drawn = one.patient not in {failure.patient for failure in failed} or report.is_file()
    return {"patient": one.patient, "controller": one.controller, "cells": cells,
            "link": os.path.relpath(report, Path(page).parent) if drawn else None}


def _cells(one: Treatment, settings: SummarySettings, columns=COLUMNS) -> list[Cell]:
    limits = {"coverage": settings.coverage[one.patient], "max_overshoot_k": 0.0}
    shown = {metric.key: metric for metric in METRICS}
    return [status_cell(one.metrics["status"]),
            *(metric_cell(shown[key], one.metrics, limits.get(key)) for key in columns)]


def _held_cells(one: Treatment, settings: SummarySettings) -> list[Cell]:
    status, *beside = _cells(one, settings, SHARED_COLUMNS)
    goals = {goal.key: goal_cell(goal, one.metrics)
             for goal in hyperthermia_goals(settings.hold[one.patient])}
    return [status, *(goals[key] for key in HELD_COLUMNS), *beside]


def _write_table(treatments: list[Treatment], path) -> None:
    """Write every metric of every treatment, named as in `metrics.json`; nested names have dots."""
    rows = [dict(_flat(one.metrics)) for one in treatments]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with atomic(path) as temporary, open(temporary, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient", "controller", *keys])
        for one, row in zip(treatments, rows, strict=True):
            writer.writerow([one.patient, one.controller, *(row.get(key) for key in keys)])


def _flat(metrics: dict, prefix: str = ""):
    """Yield names and values; nested names by their path, `constraints.skin.max_overshoot_k`."""
    for key, value in metrics.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _figure(treatments: list[Treatment]) -> str:
    """Fraction treated over time; colours are patients, dashes are controllers. Base64 PNG."""
    patients = list(dict.fromkeys(one.patient for one in treatments))
    controllers = list(dict.fromkeys(one.controller for one in treatments))
    with style():
        figure = new_figure(3.2 + 0.16 * (len(treatments) // 3))
        ax = figure.subplots()
        for one in treatments:
            ax.plot(one.t, one.coverage, color=SERIES[patients.index(one.patient) % len(SERIES)],
                    ls=DASHES[controllers.index(one.controller) % len(DASHES)],
                    label=f"{one.patient}, {one.controller}")
        ax.set(xlabel="time (s)", ylabel="target at the dose", ylim=(0, 1.05), xlim=0)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        figure.legend(loc="outside lower center", ncols=3)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=170, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()

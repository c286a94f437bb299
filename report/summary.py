"""Several patients or variants side by side: one page and one table for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.ticker import PercentFormatter

from hifuflow.formats.hdf5 import open_artifact
from hifuflow.job import atomic, read_json
from hifuflow.report.figures.style import SERIES, new_figure, style

from .limits import METRICS, Cell, status_cell, verdict

COLUMNS = {"time_to_t90_s": "90 % treated after", "treatment_time_s": "Treatment",
           "coverage": "Target treated", "max_overshoot_k": "Overshoot",
           "max_target_temperature_c": "Hottest in target",
           "damaged_normal_volume_m3": "Normal tissue at 240 CEM43", "energy_j": "Energy"}
DASHES = ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2)))


@dataclass(frozen=True)
class Treatment:
    """One controller's treatment of one patient: its metrics, and fraction treated over time."""

    patient: str
    controller: str
    metrics: dict
    t: np.ndarray
    coverage: np.ndarray

    @classmethod
    def load(cls, folder: Path, patient: str, controller: str) -> Treatment:
        control = folder / patient / "control" / controller
        with open_artifact(control / "trajectory.h5", "trajectory") as file:
            return cls(patient, controller, read_json(control / "metrics.json"), file["t"][:],
                       file["coverage"][:])


def write_summary(folder, controllers: dict, goals: dict, page, table) -> None:
    """Write `summary.html` and `summary.csv`.

    Parameters
    ----------
    folder : the results folder.  controllers : patient -> names of its controllers.
    goals : patient -> fraction of the target that is to be treated.
    """
    treatments = [Treatment.load(Path(folder), patient, controller)
                  for patient, names in controllers.items() for controller in names]
    _write_table(treatments, table)
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    where = Path(page).parent
    rows = [{"patient": one.patient, "controller": one.controller, "cells": _cells(one, goals),
             "link": os.path.relpath(Path(folder) / one.patient / "report" / "index.html", where)}
            for one in treatments]
    text = environment.get_template("summary.html.j2").render(
        rows=rows, labels=["Status", *COLUMNS.values()], figure=_figure(treatments))
    with atomic(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cells(one: Treatment, goals: dict) -> list[Cell]:
    limits = {"coverage": goals[one.patient], "max_overshoot_k": 0.0}
    shown = {metric.key: metric for metric in METRICS}
    return [status_cell(one.metrics["status"]),
            *(verdict(shown[key], one.metrics[key], limits.get(key)) for key in COLUMNS)]


def _write_table(treatments: list[Treatment], path) -> None:
    """Every metric of every treatment, named as in `metrics.json`; nested names have dots."""
    rows = [dict(_flat(one.metrics)) for one in treatments]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with atomic(path) as temporary, open(temporary, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient", "controller", *keys])
        for one, row in zip(treatments, rows, strict=True):
            writer.writerow([one.patient, one.controller, *(row.get(key) for key in keys)])


def _flat(metrics: dict, prefix: str = ""):
    """Names and values; nested ones by their path: `constraints.skin.max_overshoot_k`."""
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

"""Ensembles: many treatments of one patient, with noise and deviations from the model drawn."""

from __future__ import annotations

import csv
import io

import numpy as np

from .settings import Spread
from .treatment_settings import TreatmentSettings

NUMBERS = ("treatment_time_s", "time_to_t90_s", "on_time_s", "energy_j", "coverage",
           "t90_cem43_min", "max_overshoot_k", "overshoot_k_s", "max_constraint_temperature_c",
           "max_target_temperature_c", "damaged_normal_volume_m3", "estimator_rmse_k",
           "step_time_p99_s")
PERCENTILES = {"min": 0, "p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}


def drawn_settings(section: dict, number: int) -> TreatmentSettings:
    """Settings of draw `number` (from 1).

    Parameters
    ----------
    section : what `TreatmentSettings.read` takes, and `ensemble` {seed, spread}.
    """
    ensemble = section["ensemble"]
    return TreatmentSettings.read(section).drawn(Spread.read(ensemble["spread"]),
                                                 ensemble["seed"] + number - 1)


def distributions(draws: list[dict]) -> dict:
    """Content of `ensemble/{controller}.json` from the metrics of all draws.

    Of each number, its percentiles over the draws in which it exists, their `mean` and count
    `n`, and all its `values` by draw (None where it does not exist).
    """
    statuses = [draw["status"] for draw in draws]
    return {"draws": len(draws),
            "status": {name: statuses.count(name) for name in sorted(set(statuses))},
            **{name: _distribution([draw[name] for draw in draws]) for name in NUMBERS}}


def table(draws: list[dict]) -> str:
    """The draws' numbers as CSV, one line for each draw."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["draw", "status", *NUMBERS])
    writer.writerows([number, draw["status"], *(draw[name] for name in NUMBERS)]
                     for number, draw in enumerate(draws, 1))
    return text.getvalue()


def _distribution(values: list) -> dict:
    known = np.array([value for value in values if value is not None], dtype=float)
    summary = {name: float(np.percentile(known, at)) if len(known) else None
               for name, at in PERCENTILES.items()}
    return {"n": len(known), "mean": float(known.mean()) if len(known) else None, **summary,
            "values": values}

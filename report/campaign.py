"""A fault campaign on one page and in one table: what became of every treatment."""

from __future__ import annotations

import csv
import json
import statistics
from collections import Counter
from pathlib import Path

from hifuflow.job import atomic

from .html_page import write_page
from .limits import Cell
from .settings import fault_words

# What each outcome is called, and its verdict: for treatments with a fault, and for sound ones.
OUTCOMES = {"kept": ("limits kept", "green"), "stopped": ("power off", "green"),
            "stopped late": ("power off too late", "amber"), "over": ("harm, power on", "red"),
            "silent": ("harm, and no word", "red"), "failed": ("failed", "red")}
FALSE_ALARM = ("false alarm", "amber")
NUMBERS = {"power_off_s": ("Power off after", 1.0, 0, "s"),
           "max_overshoot_k": ("Overshoot", 1.0, 2, "K"),
           "damaged_normal_volume_m3": ("Normal tissue at 240 CEM43", 1e6, 2, "ml"),
           "coverage": ("Target treated", 100.0, 0, "%")}
COLUMNS = ("number", "fault", "sound", "begins_s", "outcome", "status", "reason", "power_off_s",
           "max_overshoot_k", "damaged_normal_volume_m3", "max_target_temperature_c", "coverage",
           "treatment_time_s", "time_to_t90_s", "energy_j")
MOST_ROWS = 300  # of single treatments on the page; the table has all
TWO = "two faults at once"


def write_campaign(parts: list[dict], settings: dict, patient: str, page, table) -> None:
    """Write the page and the table (CSV) of a campaign.

    Parameters
    ----------
    parts : each {"controller", "rows"}, with rows of `controller.campaign.campaign_rows`.
    settings : `file`, `seed`, `draws`, `pairs`, `over_k`, `controllers`.
    patient : name.  page, table : where they go.
    """
    treated = [(part["controller"], row) for part in parts for row in part["rows"]]
    _write_table(treated, table)
    striking = [one for one in treated if verdict(one[1])[1] != "green"]
    write_page(
        page, "campaign.html.j2", patient=patient, settings=settings, total=len(treated),
        striking=len(striking),
        labels=[label for label, *_ in NUMBERS.values()], table=Path(table).name,
        rows=[_group(name, controller, rows) for (name, controller), rows in groups(treated)],
        single=[_single(controller, row) for controller, row in striking[:MOST_ROWS]],
        left_out=len(striking[MOST_ROWS:]))


def groups(treated: list[tuple]) -> list[tuple]:
    """((fault, controller), rows) in the order of the faults; pairs of faults are one group."""
    found: dict = {}
    for controller, row in treated:
        name = TWO if " + " in row["fault"] else row["fault"]
        found.setdefault((name, controller), []).append(row)
    names = list(dict.fromkeys(name for name, _ in found))
    return sorted(found.items(), key=lambda item: names.index(item[0][0]))


def verdict(row: dict) -> tuple[str, str]:
    """What a treatment's outcome is called, and its verdict."""
    if row["sound"] and row["outcome"].startswith("stopped"):
        return FALSE_ALARM
    return OUTCOMES[row["outcome"]]


def counts(rows: list[dict]) -> dict[tuple[str, str], int]:
    """How many treatments have each verdict, the worst first."""
    found = Counter(map(verdict, rows))
    return dict(sorted(found.items(), key=lambda item: ("red", "amber", "green").index(item[0][1])))


def _group(name: str, controller: str, rows: list[dict]) -> dict:
    """Line of the table: how often what happened, and the worst and the median of each number."""
    return {"fault": name, "controller": controller, "n": len(rows),
            "chips": [Cell("", level, f"{count} {words}")
                      for (words, level), count in counts(rows).items()],
            "numbers": [_worst(key, rows) for key in NUMBERS],
            "statuses": ", ".join(f"{count} {status}" for status, count in Counter(
                row["status"] or "failed" for row in rows).most_common())}


def _worst(key: str, rows: list[dict]) -> Cell:
    _, scale, digits, unit = NUMBERS[key]
    known = [scale * row[key] for row in rows if row[key] is not None]
    if not known:
        return Cell("–")
    worst = min(known) if key == "coverage" else max(known)
    median = f"median {statistics.median(known):.{digits}f}" if len(known) > 1 else ""
    return Cell(f"{worst:.{digits}f} {unit}", words=median)


def _single(controller: str, row: dict) -> dict:
    words, level = verdict(row)
    values = []
    for key, (_, scale, digits, unit) in NUMBERS.items():
        values.append("–" if row[key] is None else f"{scale * row[key]:.{digits}f} {unit}")
    return {"number": row["number"], "fault": row["fault"], "controller": controller,
            "what": "; ".join(map(fault_words, row["faults"])) or "none",
            "chip": Cell("", level, words), "numbers": values,
            "status": row["status"] or "–", "reason": row["reason"] or "–"}


def _write_table(treated: list[tuple], path) -> None:
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["controller", *COLUMNS, "faults"])
        writer.writerows([controller, *(row[key] for key in COLUMNS), json.dumps(row["faults"])]
                         for controller, row in treated)

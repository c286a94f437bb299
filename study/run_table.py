"""Plain-text tables: the one at the end of a run, and comparisons for documents."""

from __future__ import annotations

from hifuflow.report.facts import Compared
from hifuflow.report.limits import METRICS

SHORT = {"treatment_time_s": "time", "coverage": "coverage", "max_overshoot_k": "overshoot"}


def run_table(patient: str, metrics: dict, report) -> str:
    """The end of a run in a few lines: one row per controller, and where the report is.

    Parameters
    ----------
    patient : name.  metrics : controller -> `metrics.json`.  report : path of the page.
    """
    by_key = {metric.key: metric for metric in METRICS}
    rows = [["controller", "status", *SHORT.values()]]
    for controller, found in metrics.items():
        rows.append([controller, str(found.get("status", "not computed")),
                     *(by_key[key].show(found.get(key)) for key in SHORT)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # Text stands on the left, numbers on the right.
    lines = ["  ".join(text.ljust(width) if i < 2 else text.rjust(width)
                       for i, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
             for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([patient, rule, lines[0], rule, *lines[1:], rule, f"report: {report}"])


def comparison_markdown(rows: list[Compared]) -> str:
    """The comparison with the paper as a Markdown table."""
    lines = ["| | paper | here |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.paper} | {row.here} |" for row in rows]
    return "\n".join(lines) + "\n"

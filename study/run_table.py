"""Plain-text tables: the one at the end of a run, and comparisons for documents."""

from __future__ import annotations

from pathlib import Path

from hifuflow.job import last_error, read_json
from hifuflow.job_record import record_of, run_record, state_of
from hifuflow.report.facts import Compared
from hifuflow.report.goals import is_hyperthermia
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
        shown = {key: by_key[key].show(found.get(key)) for key in SHORT}
        if is_hyperthermia(found):
            shown["coverage"] = held(found)
        rows.append([controller, str(found.get("status", "not computed")), *shown.values()])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # Text stands on the left, numbers on the right.
    lines = ["  ".join(text.ljust(width) if i < 2 else text.rjust(width)
                       for i, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
             for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([patient, rule, lines[0], rule, *lines[1:], rule, f"report: {report}"])


def held(metrics: dict) -> str:
    """What a hyperthermia treatment reached, in place of a fraction at a dose."""
    if metrics["held_mean_c"] is None:
        return "never held"
    return f"held {metrics['held_mean_c']:.1f} °C"


def ending(folder) -> str:
    """How the latest run of a patient ended: its table, or which steps failed and why.

    Controllers that the patient no longer names, and what was made with other settings, belong to
    none of its present results and are left out.
    """
    folder = Path(folder)
    name, run = folder.name, run_record(folder)
    failed = failures(folder, run)
    page = folder / "report" / "index.html"
    metrics = present_metrics(folder, run)
    if failed:
        return "\n".join(f"{name}: FAILED in {path.stem}: {error}\n    log: {path}"
                         for path, error in failed.items())
    if any(metrics.values()) and page.is_file():
        return run_table(name, metrics, page)
    return f"{name}: {'not finished' if folder.is_dir() else 'no results'}"


def failures(folder, run: dict) -> dict[Path, str]:
    """Log of each step of the latest run of a patient that failed -> why."""
    return {path: error for path in sorted(Path(folder).glob("logs/*.log"))
            if _is_present(path.stem, run) and (error := last_error(path))}


def present_metrics(folder, run: dict) -> dict[str, dict]:
    """Metrics of each controller of the latest run, empty where there are none of its settings.

    `run` : what `run_record` returns; without it all controllers that are there.
    """
    files = {path.parent.name: path for path in sorted(folder.glob("control/*/metrics.json"))}
    if "controllers" not in run:
        return {name: read_json(path) for name, path in files.items()}
    return {name: read_json(files[name])
            if name in files and _was_made_with(files[name], settings) else {}
            for name, settings in run["controllers"].items()}


def _was_made_with(file: Path, settings: str) -> bool:
    record = record_of(file)
    return (record is not None and record.config_sha256 == settings
            and record.state.sha256 == state_of(file).sha256)


def _is_present(job: str, run: dict) -> bool:
    """Whether a job, by the name of its log, is one of the latest run's."""
    if "controllers" not in run:
        return True
    if job.startswith("dead_"):
        return job.split("_", 2)[2] in run.get("dead_elements", [])
    if job.startswith("campaign"):
        return run.get("campaign", False)
    if not job.startswith(("control_", "export_", "ensemble_")):
        return True
    return job in {*(f"{step}_{name}" for step in ("control", "export")
                     for name in run["controllers"]),
                   *(f"ensemble_{name}{draw}" for name in run["ensembles"]
                     for draw in ("", *(f"_{i}" for i in range(1, run["draws"] + 1))))}


def comparison_markdown(rows: list[Compared]) -> str:
    """The comparison with the paper as a Markdown table."""
    lines = ["| | paper | here |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.paper} | {row.here} |" for row in rows]
    return "\n".join(lines) + "\n"

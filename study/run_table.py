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
    """Result of a run as a small text table: one row per controller, and the path of the report.

    Parameters
    ----------
    patient : name.  metrics : controller -> `metrics.json`.  report : path of the page.
    """
    by_key = {metric.key: metric for metric in METRICS}
    rows = [["controller", "status", *SHORT.values()]]
    for controller, record in metrics.items():
        shown = {key: by_key[key].show(record.get(key)) for key in SHORT}
        if is_hyperthermia(record):
            shown["coverage"] = held(record)
        rows.append([controller, str(record.get("status", "not computed")), *shown.values()])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    # Text is left-aligned, numbers are right-aligned.
    lines = ["  ".join(text.ljust(width) if i < 2 else text.rjust(width)
                       for i, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
             for row in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([patient, rule, lines[0], rule, *lines[1:], rule, f"report: {report}"])


def held(metrics: dict) -> str:
    """Result of a hyperthermia treatment as text, in place of a fraction at a dose."""
    if metrics["held_mean_c"] is None:
        return "never held"
    return f"held {metrics['held_mean_c']:.1f} °C"


def ending(folder) -> str:
    """Outcome of a patient's latest run as text: its table, or the failed steps with their errors.

    Controllers that the patient no longer names, and results made with other settings, are left
    out.
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
    """Log -> error of each failed step of a patient's latest run."""
    return {path: error for path in sorted(Path(folder).glob("logs/*.log"))
            if _is_present(path.stem, run) and (error := last_error(path))}


def present_metrics(folder, run: dict) -> dict[str, dict]:
    """Metrics of each controller of the latest run; empty where there are none for its settings.

    `run` : the result of `run_record`; if it names no controllers, all that exist are taken.
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
    """Whether a job, by the name of its log, belongs to the latest run."""
    if "controllers" not in run:
        return True
    if job.startswith("dead_"):
        return job.split("_", 2)[2] in run.get("dead_elements", [])
    if job.startswith("campaign"):
        return run.get("campaign", False)
    if not job.startswith(("control_", "export_", "ensemble_")):
        return True
    return job in {*(f"{step}_{name}" for step in ("control", "export", "export_dicom")
                     for name in run["controllers"]),
                   *(f"ensemble_{name}{draw}" for name in run["ensembles"]
                     for draw in ("", *(f"_{i}" for i in range(1, run["draws"] + 1))))}


def comparison_markdown(rows: list[Compared]) -> str:
    """The comparison with the paper as a Markdown table."""
    lines = ["| | paper | here |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.paper} | {row.here} |" for row in rows]
    return "\n".join(lines) + "\n"

"""The page of all patients after an unfinished run: the existing results, and the failures."""

from __future__ import annotations

import os
from pathlib import Path

from hifuflow.job_record import run_record

from .run_table import failures, present_metrics


def write_unfinished_summary(results_dir, settings: dict) -> None:
    """Write `summary.html` and `summary.csv` of the treatments that exist.

    Both get a time stamp older than their inputs, so that the rule makes them again.

    Parameters
    ----------
    settings : patient -> its section `summary`.

    Raises
    ------
    HifuflowError : a result is damaged, or the folder cannot be written to.
    """
    # Loaded here, because most runs do not need it.
    from hifuflow.report.settings import SummarySettings
    from hifuflow.report.summary import Failure, write_summary

    failed, there = [], {}
    for name, section in settings.items():
        folder = Path(results_dir, name)
        run = run_record(folder)
        failed += [Failure(name, log.stem, error, os.path.relpath(log, results_dir))
                   for log, error in failures(folder, run).items()]
        present = present_metrics(folder, run)
        there[name] = {**section, "controllers": [
            controller for controller in section["controllers"] if present.get(controller)]}
    files = [Path(results_dir, f"summary.{kind}") for kind in ("html", "csv")]
    write_summary(results_dir, SummarySettings.read(there), *files, failed)
    for file in files:
        os.utime(file, (0, 0))

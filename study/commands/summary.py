"""Print how each treatment ended and where its report is, or which step failed and why.

A run prints this at its end.

  hifuflow summary results
  hifuflow summary results anna bob
"""

from __future__ import annotations

from pathlib import Path

from .completion import folders


def arguments(parser) -> None:
    """Declare what the command takes."""
    parser.add_argument("results", metavar="RESULTS",
                        help="folder of the results").completer = folders
    parser.add_argument("patients", nargs="*", metavar="PATIENT",
                        help="names of patients; all that have results, if none is given")


def main(arguments) -> int:
    """Print a table for each patient."""
    from hifuflow.errors import InputError

    results = Path(arguments.results)
    if not results.is_dir():
        raise InputError("no such folder", file=results, allowed="the folder of a run's results")
    patients = arguments.patients or sorted(path.parent.name for path in results.glob("*/logs"))
    if not patients:
        print(f"no patient has results in {results}")
    for name in patients:
        print(_summary(results / name))
    side_by_side = results / "summary.html"
    if len(patients) > 1 and side_by_side.is_file():
        print(f"all of them side by side: {side_by_side}")
    return 0


def _summary(folder: Path) -> str:
    """What there is to say about one patient's results."""
    from hifuflow.job import last_error, read_json
    from hifuflow.study.run_table import run_table

    failed = {path: error for path in sorted(folder.glob("logs/*.log"))
              if (error := last_error(path))}
    if failed:
        return "\n".join(f"{folder.name}: FAILED in {path.stem}: {error}\n    log: {path}"
                         for path, error in failed.items())
    metrics = {path.parent.name: read_json(path)
               for path in sorted(folder.glob("control/*/metrics.json"))}
    page = folder / "report" / "index.html"
    if metrics and page.is_file():
        return run_table(folder.name, metrics, page)
    return f"{folder.name}: {'not finished' if folder.is_dir() else 'no results'}"

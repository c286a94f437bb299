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
    """Summary of one patient's results, as text."""
    from hifuflow.errors import HifuflowError
    from hifuflow.study.run_table import ending

    try:
        return ending(folder)
    except HifuflowError as error:  # stops no other patient's table
        return f"{folder.name}: {error}"

"""What the tests do not see: mutmut changes the code in one place; then some test must fail.

    make mutants                                       every file of [tool.mutmut]: hours
    make mutants ARGS="controller.dose records.plan"   these modules: minutes

Works in `.mutants/`, on a copy of the package in the layout of a wheel, since mutmut names what it
changes after its path. Prints the share of mutants that a test killed for each file, and those that
none did; `cd .mutants && ../.venv/bin/mutmut show NAME` shows one. Not all that survive matter:
some compute the same, some change the words of a message.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mutmut.stats import status_by_exit_code

from hifuflow.provenance import ROOT, STAGES

FOLDER = ROOT / ".mutants"
KILLED = ("killed", "timeout")
MUTMUT = "from mutmut.__main__ import cli; cli()"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def copy_package(folder: Path) -> None:
    """The package as a wheel holds it, and the unit tests beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "hifuflow", folder / "hifuflow", ignore=ignore)
    for name in (*STAGES, "study", "config", "workflow"):
        shutil.copytree(ROOT / name, folder / "hifuflow" / name, ignore=ignore)
    shutil.copytree(ROOT / "tests" / "unit", folder / "tests" / "unit", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)


def results(folder: Path) -> dict[str, dict[str, bool]]:
    """File -> mutant -> whether a test killed it, of those that were tried."""
    found = {}
    for meta in sorted((folder / "mutants").rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        tried = {name: status_by_exit_code[code] in KILLED for name, code in codes.items()
                 if code is not None}
        if tried:
            found[str(meta.relative_to(folder / "mutants")).removesuffix(".meta")] = tried
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="controller.dose, ...; by default all")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    copy_package(FOLDER)
    done = subprocess.run(
        [sys.executable, "-c", MUTMUT, "run", "--max-children", str(arguments.processes),
         *(f"hifuflow.{module}.*" for module in arguments.modules)],
        cwd=FOLDER, env={**os.environ, **THREADS})
    if done.returncode:
        sys.exit(done.returncode)
    for file, tried in results(FOLDER).items():
        killed = sum(tried.values())
        print(f"{file}: {killed} of {len(tried)} killed, {100 * killed / len(tried):.0f} %")
        print("".join(f"    {name}\n" for name, dead in tried.items() if not dead), end="")


if __name__ == "__main__":
    main()

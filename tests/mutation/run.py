"""What the tests do not see: mutmut changes the code in one place; then some test must fail.

    make mutants                               every file of FILES: an hour on two cores
    make mutants ARGS="dose.py records/"       those whose path holds one of these: minutes

Works in `.mutants/`, one folder a file, on a copy of the package in the layout of a wheel, since
mutmut names what it changes after its path. Only the tests that are written for a file are run.
Prints the share of mutants that they killed, and the names of those that they did not;
`cd .mutants/dose; ../../.venv/bin/mutmut show NAME` shows one. Not all of them matter: some compute
the same as before, some change but the words of a message. mutmut leaves properties and constants
of a module alone.
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
RECORDS = ["hifuflow/test_records.py", "hifuflow/test_record_files.py"]
# File -> tests of tests/unit.
FILES = {
    "controller/dose.py": ["controller/test_dose.py"],
    "controller/safety/supervisor.py": ["controller/test_safety.py"],
    "controller/safety/images.py": ["controller/test_safety_images.py"],
    "controller/safety/response.py": ["controller/test_safety_checks.py"],
    "controller/safety/drift.py": ["controller/test_safety_checks.py"],
    "controller/safety/place.py": ["controller/test_safety_checks.py"],
    "controller/methods/limits.py": ["controller/test_limits.py",
                                     "controller/test_limits_law.py"],
    "controller/estimation/kalman.py": ["controller/test_estimator_textbook.py",
                                        "controller/test_estimator.py"],
    "controller/estimation/heating_errors.py": ["controller/test_heating_errors.py",
                                                "controller/test_estimator_textbook.py"],
    "records/anatomy.py": [*RECORDS, "hifuflow/test_anatomy_record.py"],
    "records/bioheat_model.py": RECORDS,
    "records/cells.py": [*RECORDS, "hifuflow/test_cells.py"],
    "records/heating.py": RECORDS,
    "records/outputs.py": [*RECORDS, "hifuflow/test_anatomy_record.py"],
    "records/plan.py": RECORDS,
    "records/reduced_model.py": [*RECORDS, "controller/test_planning.py"],
    "records/trajectory.py": RECORDS,
    "reduction/checks.py": ["reduction/test_reduction_checks.py",
                            "reduction/test_reduction_input_messages.py"],
    "reduction/certificate.py": ["reduction/test_certificate_entries.py"],
}
CONFIG = """\
[tool.mutmut]
source_paths = ["hifuflow"]
also_copy = ["hifuflow"]
only_mutate = ["hifuflow/{file}"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false
use_setproctitle = false
"""
MUTMUT = "from mutmut.__main__ import cli; cli()"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def copy_package(folder: Path, file: str, tests: list[str]) -> None:
    """The package as a wheel holds it, the unit tests beside it, and what mutmut is to do."""
    shutil.rmtree(folder, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "hifuflow", folder / "hifuflow", ignore=ignore)
    for name in (*STAGES, "study", "config", "workflow"):
        shutil.copytree(ROOT / name, folder / "hifuflow" / name, ignore=ignore)
    shutil.copytree(ROOT / "tests" / "unit", folder / "tests" / "unit", ignore=ignore)
    tests = json.dumps([f"tests/unit/{name}" for name in tests])
    (folder / "pyproject.toml").write_text(CONFIG.format(file=file, tests=tests))


def killed(folder: Path, file: str) -> dict[str, bool]:
    """Mutant -> whether a test failed, or hung, because of it."""
    meta = json.loads((folder / "mutants" / "hifuflow" / f"{file}.meta").read_text())
    return {name: status_by_exit_code[code] in ("killed", "timeout")
            for name, code in meta["exit_code_by_key"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[""], help="of paths; by default all")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    shares = {}
    for file, tests in FILES.items():
        if not any(part in file for part in arguments.parts):
            continue
        folder = FOLDER / Path(file).stem
        copy_package(folder, file, tests)
        subprocess.run([sys.executable, "-c", MUTMUT, "run", "--max-children",
                        str(arguments.processes)], cwd=folder, env={**os.environ, **THREADS},
                       check=True)
        shares[file] = killed(folder, file)
        print("".join(f"    {name}\n" for name, dead in shares[file].items() if not dead))
    for file, mutants in shares.items():
        dead = sum(mutants.values())
        print(f"{file}: {dead} of {len(mutants)} killed, {100 * dead / len(mutants):.0f} %")


if __name__ == "__main__":
    main()

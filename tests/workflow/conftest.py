"""One real, coarse run of the whole workflow in a copy of the checkout, shared by these tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hifuflow.provenance import ROOT, STAGES

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]


class Checkout:
    """A copy of the project in which tests may edit files and run the workflow."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("hifuflow", "study", *STAGES, "workflow", "config"):
            shutil.copytree(ROOT / name, folder / name,
                            ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", folder)
        (folder / "profiles").symlink_to("workflow/profiles")
        # The copy's packages must win over the installed ones. Compiled modules are kept: a run
        # starts many processes, and compiling what they import costs each of them seconds.
        self.environment = {**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "Agg"}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def command(self, *arguments, patients_dir, results_dir="results", names=("breast_small",)):
        patients = names if names == "all" else f"[{','.join(names)}]"
        return [*SNAKEMAKE, *arguments, "--config", f"patients={patients}",
                f"patients_dir={patients_dir}", f"results_dir={results_dir}"]

    def snakemake(self, *arguments, **options) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(*arguments, **options), cwd=self.folder,
                              env=self.environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)

    def planned_rules(self, **options) -> set[str]:
        """Names of the rules that a run would execute now."""
        done = self.snakemake("--dry-run", "--quiet", "reason", **options)
        assert done.returncode == 0, done.stderr
        text = done.stdout + done.stderr
        if "Nothing to be done" in text:
            return set()
        return {line.split()[1].rstrip(":") for line in text.splitlines()
                if line.startswith(("rule ", "localrule "))} - {"all", "default"}


@pytest.fixture(scope="session")
def new_checkout():
    """Makes further copies: `new_checkout(folder)`."""
    return Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def patients_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patients")
    shutil.copy(ROOT / "tests" / "patients" / "breast_small.yaml", folder)
    return folder


@pytest.fixture(scope="session")
def coarse_run(checkout, patients_dir):
    """Results of a complete coarse run."""
    done = checkout.snakemake(patients_dir=patients_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout.folder / "results" / "breast_small"

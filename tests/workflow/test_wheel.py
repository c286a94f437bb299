"""The package as others install it: the wheel, in an environment of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hifuflow.provenance import ROOT, STAGES
from hifuflow.records.trajectory import Trajectory

UV = shutil.which("uv") or ROOT / ".tools" / "uv" / "bin" / "uv"
PATIENT = ROOT / "tests" / "patients" / "breast_small.yaml"
# Neither the checkout nor its environment may be found by accident.
OUTSIDE = {name: value for name, value in os.environ.items()
           if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")}
pytestmark = pytest.mark.skipif(not Path(UV).is_file(), reason="no uv to build the wheel with")


def uv(*arguments, **variables):
    """Run uv, without the network where its cache has all that is needed."""
    for offline in (["--offline"], []):
        done = subprocess.run([UV, *arguments, *offline], cwd=ROOT, capture_output=True, text=True,
                              env={**OUTSIDE, **variables})
        if done.returncode == 0:
            return
    raise AssertionError(done.stderr)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the source archive and the wheel made from it; in `direct/` one without it."""
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--python", sys.executable, "--out-dir", folder)
    uv("build", "--python", sys.executable, "--out-dir", folder / "direct", "--wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`bin/` of a new environment that has the wheel, and the locked versions of what it needs."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    uv("sync", "--frozen", "--no-dev", "--no-install-project", "--python", sys.executable,
       UV_PROJECT_ENVIRONMENT=str(folder))
    uv("pip", "install", "--no-deps", "--python", folder / "bin" / "python", wheel)
    return folder / "bin"


def contents(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_claims_one_name_and_holds_all_that_a_run_needs(wheel):
    found = contents(wheel)
    assert {name.partition("/")[0].partition("-")[0] for name in found} == {"hifuflow"}
    assert {name.partition("/")[0] for name in found if not name.startswith("hifuflow/")} == {
        next(name for name in found if name.endswith("METADATA")).partition("/")[0]}
    needed = [path for folder in ("study", *STAGES, "config", "workflow")
              for path in (ROOT / folder).rglob("*")
              if path.is_file() and "__pycache__" not in path.parts
              and not path.is_relative_to(ROOT / "workflow" / "envs")]
    assert len(needed) > 200
    for path in needed:
        assert found.get(f"hifuflow/{path.relative_to(ROOT)}") == path.read_bytes(), path
    for path in (ROOT / "hifuflow").rglob("*.py*"):
        if path.suffix in (".py", ".pyi"):
            assert str(path.relative_to(ROOT)) in found
    assert "hifuflow/py.typed" in found
    folders = {name.split("/")[1] for name in found if name.startswith("hifuflow/")}
    assert not folders & {"tests", "benchmarks", "docs", "profiles", "hifuflow"}


def test_the_source_archive_makes_the_same_wheel(built, wheel):
    assert contents(next((built / "direct").glob("*.whl"))) == contents(wheel)
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "uv.lock", "LICENSE", "README.md", "Snakefile",
            "hifuflow/__init__.pyi", "tests/workflow/test_wheel.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".tools", "results"))]


def test_the_installed_package_is_used_and_knows_its_version(installed, tmp_path):
    code = "from hifuflow import fem, study; print(*fem.__path__, study.__file__)"
    done = subprocess.run([installed / "python", "-c", code], cwd=tmp_path, env=OUTSIDE,
                          capture_output=True, text=True, check=True)
    for path in done.stdout.split():
        assert Path(path).is_relative_to(installed.parent)
    done = subprocess.run([installed / "hifuflow", "--version"], cwd=tmp_path, env=OUTSIDE,
                          capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "hifuflow" and done.stdout.split()[1][0].isdigit()


def files(folder) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_the_coarse_patient_is_treated_in_an_empty_folder(installed, tmp_path, coarse_run):
    """Validated, then killed in the middle of the run, and started again."""
    patient = tmp_path / "study" / "breast_small.yaml"
    work = tmp_path / "work"
    patient.parent.mkdir()
    work.mkdir()
    shutil.copy(PATIENT, patient)
    package = next(installed.parent.glob("lib/python3*/site-packages/hifuflow"))
    before = files(package)

    def hifuflow(*words, start=subprocess.run, **options):
        return start([installed / "hifuflow", *words], cwd=work, env=OUTSIDE, text=True,
                     stdin=subprocess.DEVNULL, **options)

    done = hifuflow("validate", "../study/breast_small.yaml", capture_output=True)
    assert done.returncode == 0 and "usable" in done.stdout, done.stderr
    run = ("run", "../study/breast_small.yaml")
    killed = hifuflow(*run, start=subprocess.Popen, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL, start_new_session=True)
    results = work / "results" / "breast_small"
    deadline = time.monotonic() + 600
    while not (results / "acoustics" / "plan.json").exists():
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()

    done = hifuflow(*run, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule anatomy" not in done.stdout + done.stderr  # what was finished is kept
    assert "report: results/breast_small/report/index.html" in done.stdout
    for name in ("paper", "mintime"):
        here, there = (Trajectory.load(folder / "control" / name / "trajectory.h5")
                       for folder in (results, coarse_run))
        np.testing.assert_array_equal(here.power, there.power)
        np.testing.assert_allclose(here.target_temperature, there.target_temperature, atol=1e-3)
    assert "not a git checkout" in (results / "report" / "index.html").read_text()
    done = hifuflow(*run, capture_output=True)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert {path.name for path in work.iterdir()} == {"results", ".snakemake"}
    assert files(package) == before

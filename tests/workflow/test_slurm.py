"""The workflow on a real SLURM: jobs that are killed, cancelled, orphaned, and two users at once.

The runs end after the first rules, since the scheduler is the point here.
"""

import getpass
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slurm_cluster

from hifuflow.provenance import ROOT

SLURM = ["--workflow-profile", "workflow/profiles/slurm",
         "--slurm-init-seconds-before-status-checks", "1"]
NOBODY = 65534
# Appended to a script: in one patient's first attempt and in the next it takes this much memory.
HUNGER = """
if snakemake.wildcards.patient == "hungry":
    import time
    ballast = b"x" * 600_000_000
    time.sleep(2.5)
"""


@pytest.fixture(scope="module")
def folder():
    """A folder that other users may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="hifuflow-slurm-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def slurm(folder):
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(f"no SLURM here: {reason}")
    cluster = slurm_cluster.Slurm(folder / "slurm")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def site(folder, new_checkout):
    """A checkout with three patients, one of whom needs more memory than is expected."""
    (folder / "checkout").mkdir()
    checkout = new_checkout(folder / "checkout")
    with open(checkout.folder / "workflow" / "scripts" / "constraints.py", "a") as script:
        script.write(HUNGER)
    (folder / "patients").mkdir()
    for name in ("a", "b", "hungry"):
        shutil.copy(ROOT / "tests" / "patients" / "breast_small.yaml",
                    folder / "patients" / f"{name}.yaml")
    return checkout


class Run:
    """A Snakemake run in the background, its output in a file."""

    def __init__(self, site, log, command, **options):
        self.log = log
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True,
                **{"cwd": site.folder, "env": site.environment, **options})

    def wait_for(self, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, self.text()
            time.sleep(0.2)

    def finish(self):
        assert self.process.wait(300) == 0, self.text()

    def text(self):
        return self.log.read_text()


def arguments(site, folder, *more, results="results", names=("a", "b", "hungry")):
    return site.command(*SLURM, *more, patients_dir=folder / "patients",
                        results_dir=folder / results, names=names)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.glob("*/anatomy/*"))}


@pytest.fixture(scope="module")
def first_run(slurm, site, folder):
    """Three patients at once; one is cancelled from outside, one is killed for its memory."""
    run = Run(site, folder / "first.log", arguments(site, folder, "--until", "constraints"))
    run.wait_for(lambda: len(slurm.jobs("RUNNING")) == 3)
    slurm.cancel(next(job["id"] for job in slurm.jobs() if of(job) == "a"))
    history = {}
    while run.process.poll() is None:  # a job's script is there only as long as the job
        history.update({job["id"]: job for job in slurm.jobs("all")})
        time.sleep(0.5)
    run.finish()
    history.update({job["id"]: job for job in slurm.jobs("all")})
    return [history[key] for key in sorted(history, key=int)]


def of(job) -> str:
    """The patient that a job is about."""
    return re.search(r"\bpatient=(\w+)", job["script"])[1]


def states(jobs, name) -> list[str]:
    return [job["state"] for job in jobs if of(job) == name]


def test_three_patients_at_once_all_finish(first_run, folder):
    for name in ("a", "b", "hungry"):
        assert (folder / "results" / name / "anatomy" / "constraints.json").is_file()
    assert states(first_run, "b") == ["COMPLETED"]
    assert temporary_files(folder) == []


def test_cancelled_job_is_run_again(first_run):
    assert states(first_run, "a") == ["CANCELLED", "COMPLETED"]


def test_job_killed_for_memory_comes_again_with_more(first_run, folder):
    assert states(first_run, "hungry") == ["FAILED", "COMPLETED"]
    first, second = (float(job["memory"].rstrip("M")) for job in first_run if of(job) == "hungry")
    assert second > 1.8 * first
    logs = (folder / "checkout" / ".snakemake" / "slurm_logs").rglob("*.log")
    assert any("xceeded job memory limit" in path.read_text() for path in logs)


def temporary_files(folder):
    return [path for path in (folder / "results").rglob(".*-*") if path.is_file()]


def test_killed_master_starts_again_and_loses_nothing(first_run, slurm, site, folder):
    before = stamps(folder / "results")
    command = arguments(site, folder, "--until", "plan", names=("a", "b"))
    run = Run(site, folder / "killed.log", command)
    run.wait_for(lambda: slurm.jobs("RUNNING"))
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    orphans = {job["id"] for job in slurm.jobs()}
    assert orphans, "the jobs outlive their master"

    again = Run(site, folder / "again.log", command)
    while again.process.poll() is None:
        now = {job["id"] for job in slurm.jobs()}
        assert not (now & orphans and now - orphans), "old and new jobs write the same files"
        time.sleep(0.3)
    again.finish()
    assert stamps(folder / "results") == before  # finished: neither lost nor made again
    for name in ("a", "b"):
        assert (folder / "results" / name / "acoustics" / "plan.json").is_file()
    assert temporary_files(folder) == []


def test_two_users_of_one_checkout(slurm, site, folder):
    foreign = foreign_python(folder)
    users = ((getpass.getuser(), sys.executable, {}),
             ("nobody", foreign, {"user": NOBODY, "group": NOBODY}))
    runs = []
    for name, python, options in users:
        home = folder / name
        home.mkdir()
        if options:
            shutil.chown(home, NOBODY, NOBODY)
        command = [python, "-m", "snakemake", "--snakefile", site.folder / "Snakefile",
                   "--directory", home, *arguments(site, folder, "--until", "anatomy",
                                                   results=home / "out", names=("a",))[3:]]
        command[command.index("workflow/profiles/slurm")] = site.folder / "workflow/profiles/slurm"
        environment = {**site.environment, "HOME": str(home), "LOGNAME": name, "USER": name,
                       "PYTHONPATH": f"{site.folder}:{site_packages()}",
                       "LD_LIBRARY_PATH": str(foreign.parents[1] / "lib")}
        environment.pop("XDG_CACHE_HOME", None)
        runs.append(Run(site, folder / f"{name}.log", command, env=environment, cwd=home,
                        **options))
    for run in runs:
        run.finish()
    first, second = (folder / name / "out/a/anatomy/labels.nii.gz" for name, *_ in users)
    assert (first.stat().st_uid, second.stat().st_uid) == (os.getuid(), NOBODY)
    np.testing.assert_array_equal(*(nib.load(path).dataobj for path in (first, second)))


def site_packages() -> str:
    return next(path for path in sys.path if path.endswith("site-packages"))


def foreign_python(folder) -> Path:
    """An interpreter that any user may run; the one of the tests may lie in a private folder."""
    home, base = folder / "python", Path(sys.base_prefix)
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    shutil.copytree(base / library, home / library, ignore=shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "idlelib", "ensurepip", "config-*"))
    for shared in base.glob("lib/libpython*.so*"):
        shutil.copy(shared, home / "lib")
    (home / "bin").mkdir()
    shutil.copy(Path(sys._base_executable).resolve(), home / "bin" / "python3")
    done = subprocess.run([home / "bin/python3", "-c", "import yaml"], user=NOBODY, group=NOBODY,
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": site_packages(),
                               "LD_LIBRARY_PATH": str(home / "lib")})
    if done.returncode:
        pytest.skip(f"no other user can run Python here: {done.stderr[-200:]}")
    return home / "bin" / "python3"

"""Who may write where, and how a failed job is quoted."""

import os
import subprocess
import sys

import pytest

from hifuflow.errors import InputError
from hifuflow.job import last_error
from hifuflow.study import locks as resume

HOLDER = """
import sys, time
from hifuflow.study.locks import claim
claim(sys.argv[1], ["anna", "berta"])
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], text=True,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_results_of_a_living_run_are_refused_by_name(holder, tmp_path):
    with pytest.raises(InputError, match=rf"anna: is being computed by .*process {holder.pid}"):
        resume.claim(tmp_path, ["carla", "anna"])


def test_results_of_a_killed_run_are_free_at_once(holder, tmp_path):
    holder.kill()
    holder.wait()
    resume.claim(tmp_path, ["anna"])
    assert f"process {os.getpid()}" in (tmp_path / ".running" / "anna").read_text()


def test_locks_of_a_killed_run_are_removed_and_its_jobs_cancelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    locks, calls = tmp_path / ".snakemake" / "locks", tmp_path / "calls"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").touch()
    (tmp_path / "bin").mkdir()
    for name, text in (
            ("squeue", f'[ -e "{calls}" ] || printf "7|rule_mesh|{tmp_path}\\n8|rule_mesh|/other\\n'
                       f'9|(null)|{tmp_path}\\n"'),
            ("scancel", f'echo "$@" >"{calls}"')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    resume.clear_stale_locks()
    assert calls.read_text() == "7\n"
    assert not list(locks.iterdir())


@pytest.mark.parametrize(("log", "error"), [
    ("10:00:00 [mesh] 5 cells\n10:00:01 [mesh] done in 1.0 s, 0.9 s of CPU\n", None),
    ("10:00:00 [plan] a\n10:00:01 [plan] ERROR p.yaml: foci.spacing_mm = 9: too far apart\n",
     "p.yaml: foci.spacing_mm = 9: too far apart"),
    ("10:00:01 [plan] ERROR p.yaml: one\np.yaml: two\n", "p.yaml: one\np.yaml: two"),
    ("10:00:01 [mesh] ERROR unexpected failure\nTraceback (most recent call last):\n"
     '  File "x.py", line 1\nZeroDivisionError: division by zero\n',
     "unexpected failure: ZeroDivisionError: division by zero"),
    ("10:00:00 [reduce] 12,398 states\n", "was killed after: 10:00:00 [reduce] 12,398 states"),
    ("", "was killed"),
])
def test_last_words_of_a_job(tmp_path, log, error):
    (tmp_path / "job.log").write_text(log)
    assert last_error(tmp_path / "job.log") == error

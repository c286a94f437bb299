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


RUN = """
import sys
from hifuflow.study.locks import clear_stale_locks
clear_stale_locks()
print("runs", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def run(tmp_path):
    """Start a run in tmp_path that goes on until it is told to end."""
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", RUN], cwd=tmp_path, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == "runs\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A queue with one job of this folder; returns the file that names what was cancelled."""
    calls = tmp_path / "calls"
    (tmp_path / "bin").mkdir()
    for name, text in (("squeue", f'[ -e "{calls}" ] || printf "7|rule_mesh|{tmp_path}\\n"'),
                       ("scancel", f'echo "$@" >"{calls}"')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return calls


@pytest.mark.parametrize("ends", ["killed", "finished"])
def test_a_third_run_leaves_alone_what_is_the_living_second_ones(tmp_path, run, cluster, ends):
    locks = tmp_path / ".snakemake" / "locks"
    first, second = run(), run()
    locks.mkdir()
    (locks / "0.input.lock").write_text("of the second\n")
    first.kill() if ends == "killed" else first.communicate("\n")
    first.wait()
    third = run()
    assert (locks / "0.input.lock").exists() and not cluster.exists()
    for process in (second, third):
        process.kill()
        process.wait()
    run()  # nobody is left whose they could be
    assert not list(locks.iterdir()) and cluster.read_text() == "7\n"


@pytest.fixture
def precious(tmp_path, monkeypatch):
    """A working folder, and a folder with a file that nobody may touch."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "precious").mkdir()
    file = tmp_path / "precious" / "0.input.lock"
    file.write_text("content")
    yield file
    assert file.read_text() == "content" and list(file.parent.iterdir()) == [file]


def test_no_link_is_followed_when_a_claim_is_made(precious):
    folder = precious.parents[1] / "results"
    (folder / ".running").mkdir(parents=True)
    (folder / ".running" / "anna").symlink_to(precious)
    with pytest.raises(InputError, match=r"anna.*link"):
        resume.claim(folder, ["anna"])
    (folder / ".running" / "anna").unlink()
    (folder / ".running").rmdir()
    (folder / ".running").symlink_to(precious.parent)
    with pytest.raises(InputError, match=r"\.running.*link"):
        resume.claim(folder, ["anna"])
    (folder / ".running").unlink()
    (folder / ".running").write_text("")
    with pytest.raises(InputError, match=r"\.running"):
        resume.claim(folder, ["anna"])


def test_a_pipe_is_no_lock_and_holds_up_nobody(tmp_path):
    (tmp_path / ".running").mkdir()
    os.mkfifo(tmp_path / ".running" / "anna")
    with pytest.raises(InputError, match="not a regular file"):
        resume.claim(tmp_path, ["anna"])


def test_no_link_is_followed_when_locks_are_removed(precious):
    state = precious.parents[1] / "work" / ".snakemake"
    state.mkdir()
    (state / "locks").symlink_to(precious.parent)
    resume.clear_stale_locks()
    (state / "locks").unlink()
    (state / "locks").mkdir()
    (state / "locks" / "1.input.lock").symlink_to(precious)
    resume._held.pop().close()
    resume.clear_stale_locks()
    assert not list((state / "locks").iterdir())  # the link is gone, and only the link


def test_no_link_is_followed_to_the_folders_own_lock(precious):
    state = precious.parents[1] / "work" / ".snakemake"
    state.mkdir()
    (state / "hifuflow.lock").symlink_to(precious)
    with pytest.raises(InputError, match=r"hifuflow\.lock.*link"):
        resume.clear_stale_locks()
    (state / "hifuflow.lock").unlink()
    state.rmdir()
    state.symlink_to(precious.parent)
    with pytest.raises(InputError, match=r"\.snakemake.*link"):
        resume.clear_stale_locks()

"""Runs that were killed start again by themselves; runs that would collide are refused.

Snakemake refuses to start in a folder whose last run was killed, because its lock is still there.
Here kernel locks, which die with their process, tell a killed run from one that is still going.
(What the killed run left unfinished is made again: `rerun-incomplete` in the profiles.)
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from hifuflow.errors import InputError
from hifuflow.job import log

CANCEL_SECONDS = 60  # until cancelled jobs must have left the queue
_held = []  # the locks live as long as this process


def clear_stale_locks() -> None:
    """Remove what a killed run left in this folder: its locks and its jobs in SLURM's queue.

    Those of a living run are left alone.

    Raises
    ------
    InputError : the folder belongs to somebody else.
    """
    state = Path(".snakemake")
    if not _lock(state / "hifuflow.lock"):  # Snakemake's own locks decide which files are free
        return
    stale = list((state / "locks").glob("*"))
    if stale and shutil.which("squeue"):
        _cancel_jobs(_jobs_of(Path.cwd()))
    for file in stale:
        file.unlink(missing_ok=True)


def claim(results_dir, patients) -> None:
    """Take the results of these patients for this run, whoever else may share them.

    Raises
    ------
    InputError : another run, of whichever user in whichever folder, has one of them; or they may
        not be written to.
    """
    for name in patients:
        lock = Path(results_dir) / ".running" / name
        if not _lock(lock):
            raise InputError(f"is being computed by {lock.read_text().strip()}",
                             file=Path(results_dir) / name,
                             allowed="another results_dir, or to wait")


def _lock(path: Path) -> bool:
    """Lock a file until this process ends and write into it who has it; False if another has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    except PermissionError as error:
        raise InputError("may not be written to by this user", file=path.parent.resolve(),
                         allowed="a folder of one's own: snakemake --directory MY_FOLDER "
                                 "--snakefile CHECKOUT/Snakefile ...") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        log.warning("%s: this file system has no locks (%s)", path, error.strerror)
        return True
    handle.truncate()
    handle.write(f"{getpass.getuser()} on {platform.node()}, process {os.getpid()}\n")
    handle.flush()
    _held.append(handle)
    return True


def _jobs_of(folder: Path) -> list[str]:
    """Numbers of this user's SLURM jobs that a Snakemake run in `folder` submitted."""
    done = subprocess.run(["squeue", "--noheader", "--user", str(os.getuid()),
                           "--format", "%i|%k|%Z"], capture_output=True, text=True)
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    return [number for number, comment, where in rows
            if where == str(folder) and comment.startswith(("rule_", "group_"))]


def _cancel_jobs(numbers: list[str]) -> None:
    """Cancel jobs and wait until none of them can write any more."""
    if not numbers:
        return
    subprocess.run(["scancel", *numbers], capture_output=True)
    deadline = time.monotonic() + CANCEL_SECONDS
    while set(numbers) & set(_jobs_of(Path.cwd())):
        if time.monotonic() > deadline:
            raise InputError("jobs of a killed run do not end", key="SLURM jobs",
                             value=" ".join(numbers), allowed="scancel them, then start again")
        time.sleep(0.5)

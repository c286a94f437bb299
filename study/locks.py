"""Locks of runs: a killed run can be started again at once, and colliding runs are refused.

Snakemake refuses to start in a folder whose last run was killed, because its lock is still there.
Here kernel locks, which end with their process, distinguish a killed run from a running one. (What
a killed run left unfinished is made again: `rerun-incomplete` in the profiles.)
"""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.locking import NoLocks, open_folder, open_lock, take
from hifuflow.storage import full_disk, refused

CANCEL_SECONDS = 60  # within which cancelled jobs must have left the queue
_held = []  # open lock files, which must live as long as this process


def clear_stale_locks() -> None:
    """Remove the locks that killed runs left in this folder, and their jobs in SLURM's queue.

    All runs share one lock while they live. If nobody else shares it, the remains have no owner and
    are removed; otherwise nothing is touched.

    Raises
    ------
    InputError, StorageError : the folder belongs to somebody else, or cannot be written to.
    """
    folder, handle = _open(Path(".snakemake"), "hifuflow.lock")
    with _closing(folder):
        try:
            if take(handle):
                _clear(folder)
            take(handle, shared=True, wait=True)
        except NoLocks as error:
            log.warning("%s: this file system has no locks (%s)", Path.cwd(), error)
    _held.append(handle)


def _clear(state: int) -> None:
    """Remove Snakemake's locks in its folder, an open one, and cancel the jobs of this folder."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        locks = os.open("locks", flags, dir_fd=state)
    except OSError:  # there are none, or a link stands there, and what is behind it is not ours
        return
    with _closing(locks):
        stale = [name for name in os.listdir(locks) if name.endswith(".lock")]
        if stale and shutil.which("squeue"):
            _cancel_jobs(_jobs_of(Path.cwd()))
        for name in stale:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=locks)  # of a link the link, not what it points to


def claim(results_dir, patients) -> None:
    """Claim the results of these patients for this run.

    Raises
    ------
    InputError, StorageError : another run, of any user and in any folder, has claimed one of them;
        or they cannot be written to.
    """
    for name in patients:
        folder, handle = _open(Path(results_dir) / ".running", name)
        os.close(folder)
        try:
            if not take(handle):
                raise InputError(f"is being computed by {handle.read().strip()}",
                                 file=Path(results_dir) / name,
                                 allowed="another results_dir, or to wait")
        except NoLocks as error:
            log.warning("%s: this file system has no locks (%s)", results_dir, error)
        _held.append(handle)
        try:
            handle.truncate(0)
            handle.write(f"{getpass.getuser()} on {platform.node()}, process {os.getpid()}\n")
            handle.flush()
        except OSError as error:
            raise full_disk(error, results_dir) or refused(error, results_dir) from error


def _open(folder: Path, name: str):
    """Descriptor of a folder, which is created if needed, and an open lock file in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_folder(folder)
        try:
            return descriptor, open_lock(name, folder=descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    except FileExistsError:
        open_folder(folder)  # says what stands there instead
        raise
    except PermissionError as error:
        raise InputError("may not be written to by this user", file=folder.resolve(),
                         allowed="a folder of one's own: snakemake --directory MY_FOLDER "
                                 "--snakefile CHECKOUT/Snakefile ...") from error
    except OSError as error:
        raise full_disk(error, folder) or refused(error, folder) from error


@contextmanager
def _closing(descriptor: int):
    try:
        yield
    finally:
        os.close(descriptor)


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

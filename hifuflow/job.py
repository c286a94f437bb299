"""Tools of every workflow job: log, limited threads, progress display, atomic outputs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .errors import DamagedFile, HifuflowError, InputError, StorageError
from .locking import NoLocks, open_lock, take
from .storage import full_disk, refused

log = logging.getLogger("hifuflow")
DONE = re.compile(r"\] done in [\d.]+ s(?:, ([\d.]+) s of CPU)?$")  # last line of a job's log
LOCK = ".lock"
CHECKSUM = "content_sha256"
_own_log: tuple[Path, tuple] | None = None  # path and identity of this process's log file


class Superseded(HifuflowError):
    """The job was started again by another run; this process outlived its own run."""


@contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; rename it onto `path` only if the block succeeds.

    A killed or failed job therefore never leaves a file that looks finished. The temporary name
    keeps the suffixes, by which gmsh and nibabel choose the format. While the file is written, a
    lock beside it shows others that it has an owner.

    Raises
    ------
    Superseded : another job owns the file by now.
    StorageError : the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    check_owner()
    name, dot, suffixes = path.name.partition(".")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{name}-*{dot}{suffixes}"):
            _remove_ownerless(stale)
        descriptor, lock = tempfile.mkstemp(prefix=f".{name}-", suffix=LOCK, dir=path.parent)
    except OSError as error:
        raise full_disk(error, path.parent) or refused(error, path.parent) from error
    temporary = Path(lock.removesuffix(LOCK) + dot + suffixes)
    with os.fdopen(descriptor, "r+") as handle:
        try:
            with suppress(NoLocks):
                take(handle)
            temporary.touch()
            yield temporary
            _complete(temporary, path)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)  # before its space is counted
            if fault := full_disk(error, path.parent):
                raise fault from error
            raise
        finally:
            temporary.unlink(missing_ok=True)
            Path(lock).unlink(missing_ok=True)


def _remove_ownerless(temporary: Path) -> None:
    """Remove the temporary file of a job that was killed, as shown by its lock."""
    lock = temporary.with_name("." + temporary.name[1:].partition(".")[0] + LOCK)
    with suppress(NoLocks, OSError, InputError):  # if it cannot be told or removed, it stays
        if not lock.is_symlink() and not lock.exists():
            temporary.unlink(missing_ok=True)
            return
        with open_lock(lock, create=False) as handle:
            if take(handle):
                temporary.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)


def _complete(temporary, path: Path) -> None:
    """Rename a file once it is on the disk: some file systems report errors only then."""
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
    check_owner()
    try:
        os.replace(temporary, path)
    except OSError as error:  # a folder of this name, for example
        raise full_disk(error, path.parent) or refused(error, path) from error


def write_json(path, content: dict) -> None:
    """Write a dict as indented JSON with its checksum, atomically; NaN is not JSON and refused."""
    content = json.loads(json.dumps(content, allow_nan=False))  # as it will be read
    content[CHECKSUM] = json_sha256(content)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path) -> dict:
    """Read a JSON artifact; one that was written elsewhere need not have a checksum.

    Raises
    ------
    DamagedFile : the content is not JSON, or not what was written.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedFile(path, "not a JSON object")
    last = [key for key in list(content)[-1:] if _is_checksum(key, content[key])]
    stated = content.pop(last[0]) if last else None
    if stated and stated != json_sha256(content):
        raise DamagedFile(path, f"its content does not match its {CHECKSUM}")
    return content


def _is_checksum(key: str, value) -> bool:
    """Whether an entry looks like a checksum, even with a damaged name or value."""
    return len(key) == len(CHECKSUM) and isinstance(value, str) and len(value) == 64


def json_sha256(content: dict) -> str:
    """SHA-256 of a dict as JSON, independent of the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _LogFile(logging.FileHandler):
    """Log file that only loses lines when its disk is full."""

    def handleError(self, record):
        """Ignore errors of the disk."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    def close(self):
        """Close the file, ignoring errors of the disk."""
        with suppress(OSError):
            super().close()


@contextmanager
def job(name: str, log_file, threads: int = 1):
    """Run the block as a workflow job.

    Logs go to `log_file` and to the terminal, BLAS uses `threads` threads, and a `HifuflowError`
    ends the process with its one paragraph instead of a traceback. The log is a new file, and the
    process that wrote it owns the job. A process that an earlier, killed run left behind keeps
    writing into the old file, and publishes no more results.
    """
    before = [*log.handlers], log.level, log.propagate, _own_log
    fault = _log_into(name, log_file)
    start = time.perf_counter()
    try:
        if fault:
            log.error("ERROR %s", fault)
            sys.exit(1)
        with threadpool_limits(limits=threads):
            yield log
    except StorageError as error:
        _end_at_once(error)
    except HifuflowError as error:
        log.error("ERROR %s", error)
        sys.exit(1)
    except Exception as error:
        if fault := full_disk(error, Path(log_file).parent if log_file else None):
            _end_at_once(fault)
        log.exception("unexpected failure")
        log.error("ERROR %s: %s. This is a fault of the program, not of your files: please report "
                  "it with the lines above%s.", type(error).__name__, str(error).rstrip("."),
                  f", which are also in {log_file}" if log_file else "")
        sys.exit(1)
    else:
        log.info("done in %.1f s, %.1f s of CPU", time.perf_counter() - start, cpu_seconds())
    finally:
        _log_as_before(before)


def _log_into(name: str, log_file) -> StorageError | None:
    """Log to the terminal and into a new file; returns the error if that file cannot be made."""
    global _own_log
    handlers, fault = [logging.StreamHandler(sys.stderr)], None
    if log_file:
        log_file = Path(log_file)
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            log_file.unlink(missing_ok=True)
            handlers.append(_LogFile(log_file, mode="w"))
            _own_log = log_file.absolute(), _identity(os.fstat(handlers[-1].stream.fileno()))
        except OSError as error:
            fault = full_disk(error, log_file.parent) or refused(error, log_file.parent)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(f"%(asctime)s [{name}] %(message)s", "%H:%M:%S"))
    log.handlers[:] = handlers
    log.setLevel(logging.INFO)
    log.propagate = False
    return fault


def _log_as_before(before: tuple) -> None:
    """Restore the logging from before the job, for a process that goes on."""
    global _own_log
    for handler in log.handlers:
        handler.close()
    log.handlers[:], level, log.propagate, _own_log = before
    log.setLevel(level)


def _end_at_once(fault: StorageError) -> NoReturn:
    """End the process at once: HDF5 would crash at the end with data that it could not write."""
    log.error("ERROR %s", fault)
    if "h5py" not in sys.modules:
        sys.exit(1)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)


def check_owner() -> None:
    """Raise `Superseded` if another job owns the log of this process by now."""
    if _own_log:
        path, identity = _own_log
        with suppress(FileNotFoundError):
            if _identity(os.stat(path)) != identity:
                raise Superseded("the job was started again by another run; this one, left behind "
                                 "by a run that was killed, ends without a result")


def _identity(status: os.stat_result) -> tuple:
    return status.st_dev, status.st_ino


def cpu_seconds() -> float:
    """CPU time [s] of this process and of its child processes that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def last_error(log_file) -> str | None:
    """The error with which the job that wrote this log failed; None if it did not fail.

    A job that was killed from outside logged no error; its last line is reported instead.
    """
    lines = Path(log_file).read_text(errors="replace").strip().splitlines()
    starts = [i for i, line in enumerate(lines) if "] ERROR " in line]
    if starts:
        paragraph = lines[starts[-1]:]
        text = paragraph[0].partition("] ERROR ")[2]
        if len(paragraph) > 1:
            text += f": {paragraph[-1].strip()}" if "Traceback" in paragraph[1] else (
                "\n" + "\n".join(paragraph[1:]))
        return text
    if lines and DONE.search(lines[-1]):
        return None
    return f"was killed after: {lines[-1]}" if lines else "was killed"


class Progress:
    """Progress display: a bar in a terminal, otherwise a log line every few seconds.

    >>> with Progress("heating", total=45, unit="foci") as progress:
    ...     for focus in foci:
    ...         progress.advance()
    """

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, title: str, total: float, unit: str = ""):
        self.title, self.total, self.unit = title, total, unit
        self.done, self.note = 0.0, ""
        self._bar = tqdm(total=total, desc=title, unit=unit, disable=not sys.stderr.isatty(),
                         leave=False, dynamic_ncols=True)
        self._last = time.monotonic()

    def __enter__(self):
        return self

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Advance by `amount`; `note` is shown beside it, e.g. the fraction treated."""
        self.done += amount
        self.note = note or self.note
        if self._bar.disable:
            if time.monotonic() - self._last > self.SECONDS_BETWEEN_LINES:
                self._last = time.monotonic()
                log.info("%s: %g of %g %s %s", self.title, self.done, self.total, self.unit,
                         self.note)
        else:
            self._bar.set_postfix_str(self.note, refresh=False)
            self._bar.update(amount)

    def __exit__(self, *_):
        self._bar.close()

"""What every workflow job needs: a log, pinned threads, a progress display, atomic outputs."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .errors import HifuflowError

log = logging.getLogger("hifuflow")
DONE = re.compile(r"\] done in [\d.]+ s(?:, ([\d.]+) s of CPU)?$")  # last line of a job's log


@contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; rename it onto `path` only if the block succeeds.

    A killed or failed job therefore never leaves a file that looks finished. The temporary
    name keeps the suffixes (gmsh and nibabel choose the format by them).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name, dot, suffixes = path.name.partition(".")
    for stale in path.parent.glob(f".{name}-*{dot}{suffixes}"):  # of a job that was killed
        stale.unlink(missing_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}-", suffix=dot + suffixes, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path, content: dict) -> None:
    """Write a dict as indented JSON, atomically; NaN is refused (it is not JSON)."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path) -> dict:
    """Read a JSON artifact."""
    return json.loads(Path(path).read_text())


@contextmanager
def job(name: str, log_file, threads: int = 1):
    """Run the block as a workflow job.

    Logs go to `log_file` and to the terminal, BLAS uses `threads` threads, and a
    `HifuflowError` ends the process with its one paragraph instead of a traceback.
    """
    handlers = [logging.StreamHandler(sys.stderr)]
    if log_file:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(f"%(asctime)s [{name}] %(message)s", "%H:%M:%S"))
    log.handlers[:] = handlers
    log.setLevel(logging.INFO)
    log.propagate = False
    start = time.perf_counter()
    try:
        with threadpool_limits(limits=threads):
            yield log
    except HifuflowError as error:
        log.error("ERROR %s", error)
        sys.exit(1)
    except Exception as error:
        log.exception("unexpected failure")
        log.error("ERROR %s: %s. This is a fault of the program, not of your files: please report "
                  "it with the lines above%s.", type(error).__name__, str(error).rstrip("."),
                  f", which are also in {log_file}" if log_file else "")
        sys.exit(1)
    log.info("done in %.1f s, %.1f s of CPU", time.perf_counter() - start, cpu_seconds())


def cpu_seconds() -> float:
    """CPU time of this process and of those it has started and seen end [s]."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def last_error(log_file) -> str | None:
    """The paragraph with which the job that wrote this log failed; None if it did not.

    A job that was killed from outside has no last words; what it said last stands for them.
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
    """A bar in a terminal, a log line every few seconds otherwise.

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
        """Move on by `amount`; `note` says how things stand, e.g. the fraction treated."""
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

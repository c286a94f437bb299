"""Run a function in a fresh process, so that a crash, a hang or a library stays in there.

Not `multiprocessing`: forking a process that has threads may deadlock, and spawning one imports
the main script again. `python -m hifuflow.isolated CALL RESULT` is the process.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .errors import NumericalError
from .provenance import PACKAGE

GRACE = 5  # seconds between the signal that ends the process and the one that kills it
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class OutOfTime(NumericalError):
    """The function did not return within its CPU time."""


def run_isolated(function, *arguments, cpu_seconds: int | None = None):
    """Result of `function(*arguments)`, computed with one BLAS thread in a process of its own.

    Parameters
    ----------
    function : a function of a module; it, its arguments and its result must be picklable.
    cpu_seconds : limit of CPU time (not wall time: a busy machine does not change the outcome).

    Raises
    ------
    OutOfTime : the function used up its CPU time.
    NumericalError : the function raised one, or the process died.
    """
    with tempfile.TemporaryDirectory() as folder:
        call, result = Path(folder) / "call", Path(folder) / "result"
        call.write_bytes(pickle.dumps((function, arguments, cpu_seconds)))
        path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-m", "hifuflow.isolated", call, result],
                              env=environment, capture_output=True, text=True)
        if done.returncode == -signal.SIGXCPU:
            raise OutOfTime(f"{function.__name__} was stopped at the limit of {cpu_seconds} s of "
                            "CPU time")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NumericalError(f"{function.__name__} failed: {last}"
                                 if done.returncode > 0 else f"{function.__name__} crashed")
        value, message = pickle.loads(result.read_bytes())
    if message is not None:
        raise NumericalError(message)
    return value


def _main(call, result) -> None:
    function, arguments, cpu_seconds = pickle.loads(Path(call).read_bytes())
    if cpu_seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + GRACE))
    try:
        answer = (function(*arguments), None)
    except NumericalError as error:
        answer = (None, str(error))
    Path(result).write_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""Run a function in a fresh process, so that a crash, a hang or a library stays in it.

`multiprocessing` is not used: forking a process with threads may deadlock, and spawning one imports
the main script again. The process is `python -m hifuflow.isolated RESULT`: it reads the call from
its standard input and writes into the open file of that number.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile

from .errors import NumericalError
from .provenance import PACKAGE

GRACE = 5  # seconds between the signal that ends the process and the one that kills it
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class OutOfTime(NumericalError):
    """The function did not return within its CPU time."""


def run_isolated(function, *arguments, cpu_seconds: int | None = None):
    """Result of `function(*arguments)`, computed with one BLAS thread in a separate process.

    Parameters
    ----------
    function : a function of a module; it, its arguments and its result must be picklable.
    cpu_seconds : limit of CPU time (not wall time: a busy machine does not change the outcome).

    Raises
    ------
    OutOfTime : the function used up its CPU time.
    NumericalError : the function raised one, or its process died.
    """
    # Unnamed files: nobody can put another pickle in their place.
    with tempfile.TemporaryFile() as call, tempfile.TemporaryFile() as result:
        pickle.dump((function, arguments, cpu_seconds), call)
        call.seek(0)
        path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-m", "hifuflow.isolated", str(result.fileno())],
                              env=environment, stdin=call, pass_fds=[result.fileno()],
                              capture_output=True, text=True)
        if done.returncode == -signal.SIGXCPU:
            raise OutOfTime(f"{function.__name__} was stopped at the limit of {cpu_seconds} s of "
                            "CPU time")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NumericalError(f"{function.__name__} failed: {last}"
                                 if done.returncode > 0 else f"{function.__name__} crashed")
        result.seek(0)
        value, message = pickle.load(result)
    if message is not None:
        raise NumericalError(message)
    return value


def _main(result: int) -> None:
    function, arguments, cpu_seconds = pickle.load(sys.stdin.buffer)
    if cpu_seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + GRACE))
    try:
        answer = (function(*arguments), None)
    except NumericalError as error:
        answer = (None, str(error))
    with os.fdopen(result, "wb") as stream:
        pickle.dump(answer, stream)


if __name__ == "__main__":
    _main(int(sys.argv[1]))

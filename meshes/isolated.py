"""Run a function in a process of its own, so that a crash or a hang becomes an error."""

from __future__ import annotations

import multiprocessing
import resource
import signal

from hifuflow.errors import NumericalError

GRACE = 5  # seconds between the signal that ends the process and the one that kills it


class OutOfTime(NumericalError):
    """The function did not return within its CPU time."""


def run_limited(function, *arguments, cpu_seconds: int):
    """Result of `function(*arguments)`, computed in a forked process.

    Raises
    ------
    OutOfTime : the function used up its CPU time (CPU and not wall time, so that a busy machine
        does not change the outcome).
    NumericalError : the function raised one, or the process died.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, arguments, cpu_seconds))
    process.start()
    sender.close()
    try:
        result, error = receiver.recv()
    except EOFError:
        result, error = None, f"{function.__name__} crashed"
    process.join()
    if process.exitcode == -signal.SIGXCPU:
        raise OutOfTime(f"{function.__name__} was stopped at the limit of {cpu_seconds} s of CPU "
                        "time")
    if error is not None:
        raise NumericalError(error)
    return result


def _child(sender, function, arguments, cpu_seconds):
    """Send (result, None) or (None, message)."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + GRACE))
    try:
        sender.send((function(*arguments), None))
    except NumericalError as error:
        sender.send((None, str(error)))

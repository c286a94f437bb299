"""Run a function in a process of its own, so that a crash or a hang becomes an error."""

from __future__ import annotations

import multiprocessing
import resource

from hifuflow.errors import NumericalError


def run_limited(function, *arguments, cpu_seconds: int):
    """Result of `function(*arguments)`, computed in a forked process.

    Raises
    ------
    NumericalError : the function raised one, the process died, or it used up its CPU time (CPU
        and not wall time, so that a busy machine does not change the outcome).
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, function, arguments, cpu_seconds))
    process.start()
    sender.close()
    try:
        result, error = receiver.recv()
    except EOFError:
        error = f"{function.__name__} crashed or took more than {cpu_seconds} s of CPU time"
    process.join()
    if error is not None:
        raise NumericalError(error)
    return result


def _child(sender, function, arguments, cpu_seconds):
    """Send (result, None) or (None, message)."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    try:
        sender.send((function(*arguments), None))
    except NumericalError as error:
        sender.send((None, str(error)))

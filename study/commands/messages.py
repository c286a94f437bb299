"""Errors on the terminal, the same way from every command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from hifuflow.errors import HifuflowError

BAD_INPUT = 2  # exit status


def print_errors(error: HifuflowError) -> None:
    """Print an error to standard error: one line for each fault that it holds."""
    for fault in getattr(error, "faults", [error]):
        print(f"ERROR {fault}", file=sys.stderr)


def each(items: Iterable, show: Callable[[object], str]) -> int:
    """Print `show(item)` of every item, or its errors, and go on; the exit status."""
    status = 0
    for item in items:
        try:
            print(show(item))
        except HifuflowError as error:
            status = BAD_INPUT
            print_errors(error)
    return status

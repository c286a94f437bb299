"""Errors on the terminal, the same way from every command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from hifuflow.errors import HifuflowError

BAD_INPUT = 2  # exit status


def print_errors(error: HifuflowError) -> None:
    """Print an error to standard error: a line for each fault, of many the first."""
    for line in str(error).splitlines():
        print(f"ERROR {line}", file=sys.stderr)


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

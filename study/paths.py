"""Paths as users write them in configuration files."""

from __future__ import annotations

from pathlib import Path


def user_path(given: str, folder) -> Path | None:
    """`given`, with ~ for a home and relative to `folder`, whether it exists or not.

    None where no file can be: no such user, a NUL byte, a name that is too long, a loop of links,
    a folder that may not be searched.
    """
    try:
        path = Path(folder) / Path(given).expanduser()
        path.stat()
    except FileNotFoundError:
        return path
    except (RuntimeError, ValueError, OSError):
        return None
    return path

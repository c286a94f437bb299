"""Paths as users write them in configuration files."""

from __future__ import annotations

from pathlib import Path


def user_path(text: str, folder) -> Path | None:
    """Path of a `text` with ~ for a home, relative to `folder`; it need not exist.

    None where no file can be: no such user, a NUL byte, a name that is too long, a loop of links,
    a folder that may not be searched.
    """
    try:
        path = Path(folder) / Path(text).expanduser()
        path.stat()
    except FileNotFoundError:
        return path
    except (RuntimeError, ValueError, OSError):
        return None
    return path

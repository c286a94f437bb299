"""Exceptions of a controller's code in one line: what went wrong, and where."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))


def failure(error: BaseException) -> str:
    """E.g. "ZeroDivisionError: division by zero (mine.py, line 12)": the type, the message, and the
    last line of a file that is no library's."""
    if isinstance(error, SyntaxError) and error.filename:
        text, place = error.msg, (error.filename, error.lineno)
    else:
        text = str(error)
        places = [(frame.filename, frame.lineno)
                  for frame in traceback.extract_tb(error.__traceback__) if _own(frame.filename)]
        place = places[-1] if places else None
    text = " ".join(f"{type(error).__name__}: {text}".split()).removesuffix(":")
    return f"{text} ({Path(place[0]).name}, line {place[1]})" if place else text


def _own(filename: str) -> bool:
    path = Path(filename)
    return path.is_file() and not any(path.is_relative_to(folder) for folder in LIBRARIES)

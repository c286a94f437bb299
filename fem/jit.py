"""Compiled forms: one cache per host and Python, safe against concurrent and killed jobs.

FFCx marks a compilation by creating `NAME.c` and its end by `NAME.c.cached`; a job killed in
between leaves the first without the second, and every later job waits for it in vain. Here all
compilations hold one lock, which the kernel releases when its holder dies: whoever has the lock
knows that an unfinished `NAME.c` is dead, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
from contextlib import contextmanager
from pathlib import Path

from dolfinx import fem
from ufl.domain import extract_unique_domain

TIMEOUT_SECONDS = 300  # FFCx's own wait; the lock makes it unnecessary but 10 s is its default


def cache_folder() -> Path:
    """Folder for this host's and this Python's compiled forms, below the user's cache."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "hifuflow" / f"ffcx-{platform.node()}-{sys.implementation.cache_tag}"


@contextmanager
def _locked(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def compile_form(form, folder: Path | None = None):
    """Compile a UFL form, or load it from the cache.

    Parameters
    ----------
    form : ufl.Form; keep numbers out of it (Constant or DG0 functions), or each compiles anew.
    folder : the cache, by default `cache_folder()`.
    """
    folder = folder or cache_folder()
    options = {"cache_dir": str(folder), "timeout": TIMEOUT_SECONDS}
    if extract_unique_domain(form).ufl_cargo().comm.rank > 0:
        return fem.form(form, jit_options=options)  # the first rank compiles, and has the lock
    with _locked(folder):
        for source in folder.glob("libffcx_*.c"):
            if not source.with_suffix(".c.cached").exists():
                source.unlink()
        return fem.form(form, jit_options=options)

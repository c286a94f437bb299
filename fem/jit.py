"""Cache of compiled forms per host and Python, safe against concurrent and killed jobs.

FFCx creates `NAME.c` when a compilation begins and `NAME.c.cached` when it ends. A job killed in
between leaves the first without the second, and every later job waits for it in vain. Here every
compilation takes one lock, which the kernel releases when the process dies. So whoever has the lock
knows that an unfinished `NAME.c` is stale, and removes it.
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

TIMEOUT_SECONDS = 300  # of FFCx's own wait, which the lock makes unnecessary; its default is 10 s


def cache_folder() -> Path:
    """Folder of the compiled forms for this host and Python, below the user's cache."""
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
    form : ufl.Form. Numbers belong in Constant or DG0 functions, or every value compiles anew.
    folder : the cache, by default `cache_folder()`.

    Returns
    -------
    dolfinx.fem.Form
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

"""Make a run that was killed start again by itself.

Snakemake refuses to start in a folder whose last run was killed, because its lock is still there.
Here a kernel lock, which dies with its process, tells a killed run from one that is still going.
(What the killed run left unfinished is made again: `rerun-incomplete` in the default profile.)
"""

from __future__ import annotations

import fcntl
from pathlib import Path

_held = []  # the lock lives as long as this process


def clear_stale_locks() -> None:
    """Remove the locks of a killed run in this folder; leave those of a living run alone."""
    state = Path(".snakemake")
    state.mkdir(exist_ok=True)
    handle = (state / "hifuflow.lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another run is alive: Snakemake's own locks decide which files are free
        handle.close()
        return
    _held.append(handle)
    for stale in (state / "locks").glob("*"):
        stale.unlink(missing_ok=True)

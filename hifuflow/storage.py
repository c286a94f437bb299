"""Errors of disks in words: a full disk, and a folder that cannot be written to."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from pathlib import Path

from .errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
           errno.ELOOP, errno.EISDIR)
IN_HDF5 = re.compile(r"errno = (\d+)")  # some of its errors carry the number in their text only


def full_disk(error: BaseException, folder=None) -> StorageError | None:
    """The error for a full disk; None if `error` is about something else.

    Temporary files may have filled another disk than that of `folder`: the fuller one is named.
    """
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, RuntimeError):
        number = int(match[1]) if (match := IN_HDF5.search(str(error))) else None
    if number not in FULL:
        return None
    folders = [_existing(path) for path in (folder, tempfile.gettempdir()) if path is not None]
    folder = min(folders, key=free)
    quota = ", or of what this user may fill" if number == errno.EDQUOT else ""
    return StorageError(f"{folder}: the disk is full{quota}: {free(folder) / 1e6:,.1f} MB are free "
                        "there. Nothing unfinished was kept; make room and start again")


def refused(error: OSError, folder) -> StorageError:
    """The error for a folder in which no file can be created."""
    return StorageError(f"{Path(folder).absolute()}: cannot be written to: {error.strerror} "
                        "(allowed: a folder of one's own)")


def free(folder) -> int:
    """Free space on the disk of a folder [bytes]."""
    return shutil.disk_usage(folder).free


def _existing(path) -> Path:
    """The nearest parent folder that exists."""
    path = Path(path).absolute()
    return next((place for place in (path, *path.parents) if place.is_dir()), Path("/"))

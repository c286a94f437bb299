"""Kernel locks on files: they end with their process, so a file without one has no living owner."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from .errors import InputError

TAKEN = (errno.EAGAIN, errno.EACCES)


class NoLocks(Exception):
    """The file system has no locks."""


def open_lock(path, *, create: bool = True, folder: int | None = None):
    """Open a lock file, which must be an ordinary file and not a link.

    Parameters
    ----------
    folder : descriptor of an open folder (`open_folder`) that a relative `path` starts from.

    Raises
    ------
    InputError : the name belongs to something else, which must not be followed or overwritten.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _no_lock(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock(path)
    return os.fdopen(descriptor, "r+")


def open_folder(path) -> int:
    """Descriptor of a folder that is not a link; see `open_lock`.

    Raises
    ------
    InputError : it is a link or a file.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise InputError("is a link or a file where the run keeps its locks", file=path,
                             allowed="a folder: delete it, and the run makes one") from error
        raise


def take(handle, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file for this process; False if another process has locked it.

    Raises
    ------
    NoLocks : the file system has no locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise NoLocks(error.strerror) from error
    return True


def _no_lock(path) -> InputError:
    return InputError("is a link or not a regular file, where the run keeps a lock", file=path,
                      allowed="nothing of this name; delete it")

"""Who may do what across processes: OS locks, so that they die with their owners however those end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING, Final

from ..errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS})  # a file system that has none


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold off a repair of the manifest in `folder`, together with everybody else who uses it.

    Raises:
        StateError: it is being repaired now.
        OSError: the folder cannot be written.
    """
    with _lock_file(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(
                f"The manifest in {folder} is being repaired by another process",
                hint="when that has ended, run the same command again",
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only one who uses the manifest in `folder`.

    Raises:
        StateError: another process uses it, or the file system cannot tell.
        OSError: the folder cannot be written.
    """
    with _lock_file(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            busy = isinstance(error, BlockingIOError)
            raise StateError(
                f"The manifest in {folder} "
                + ("is in use by another process" if busy else f"cannot be locked: {error.strerror}"),
                hint="stop every other speechstream, then try again; nothing was changed",
            ) from error
        yield


@contextlib.contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder / "manifest.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[bool]:
    """Try to own the job of this folder: True inside when this process is its owner, False when another is.

    Raises:
        StateError: the lock file cannot be made.
    """
    from filelock import FileLock, Timeout  # slow to import, and `jobs` never needs it

    lock = FileLock(folder / "owner.lock", thread_local=False, is_singleton=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise StateError(f"The job's folder {folder} cannot be locked: {error.strerror or error}") from error
    try:
        yield True
    finally:
        lock.release()

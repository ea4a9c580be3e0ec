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
_HELD: Final = frozenset({errno.EAGAIN, errno.EACCES})  # by another; some file systems say it in the second way


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

    False also where its last owner has just removed the folder: what was locked then has no name, and guards nothing.

    Raises:
        StateError: there can be no lock.
    """
    try:
        descriptor = os.open(folder / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        yield False
        return
    except OSError as error:
        raise _unlockable(folder, error) from error
    try:
        yield _locked(descriptor, folder) and os.fstat(descriptor).st_nlink > 0
    finally:
        os.close(descriptor)


def _locked(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise _unlockable(folder, error) from error
        return False
    return True


def _unlockable(folder: Path, error: OSError) -> StateError:
    return StateError(
        f"The job's folder {folder} cannot be locked: {error.strerror or error}",
        hint="keep jobs on a disk of this machine: SPEECHSTREAM_STATE_DIR",
    )

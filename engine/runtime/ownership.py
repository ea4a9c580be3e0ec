"""One owner per job across processes: an OS lock, so that it dies with its owner however that ends."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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

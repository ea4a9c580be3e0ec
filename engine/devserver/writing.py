"""Bytes to the disk, whole pieces at a time."""

import asyncio
import errno
import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import anyio
from anyio import to_thread

from .errors import Refusal
from .headers import Digest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RESERVE_BYTES = 64 << 20  # recordings leave this to the database, whose commits are what makes an offset true


class WriteBehind:
    """Appends pieces to a file, each in a thread while the next one is gathered: a socket and a disk at work at once.

    Attributes:
        end: Where the bytes that were written for certain end.
    """

    def __init__(self, file: int, at: int, digest: Digest | None) -> None:
        self._file = file
        self._digest = digest
        self._under_way: asyncio.Task[None] | None = None
        self.end = self._taken = at

    async def take(self, chunks: Sequence[bytes]) -> None:
        """Write a piece, once the one before is written.

        Raises:
            Refusal: 507 when the disk had no room for the one before.
        """
        await self.done()
        at, self._taken = self._taken, self._taken + sum(map(len, chunks))
        self._under_way = asyncio.create_task(to_thread.run_sync(write_all, self._file, chunks, at, self._digest))

    async def done(self) -> None:
        """Return when all is written.

        Raises:
            Refusal: 507 when the disk has no room.
        """
        if self._under_way is not None:
            await asyncio.wait([self._under_way])  # a thread cannot be called back, so its task must not be cancelled
            self._under_way.result()
            self.end, self._under_way = self._taken, None

    async def let_go(self) -> None:
        """Return when nothing is being written any more, whatever became of it; nothing may interrupt this."""
        with anyio.CancelScope(shield=True):
            if self._under_way is not None:
                await asyncio.wait([self._under_way])
                if self._under_way.exception() is None:
                    self.end = self._taken


def write_all(file: int, chunks: Sequence[bytes], at: int, digest: Digest | None) -> None:
    """Write ``chunks`` one after the other at an offset, however many calls it takes.

    Raises:
        Refusal: 507 when the disk is full, but for ``RESERVE_BYTES``.
    """
    if room(file) < sum(map(len, chunks)):
        raise no_space()
    if digest is not None:
        for chunk in chunks:
            digest.update(chunk)
    left = [memoryview(chunk) for chunk in chunks if chunk]
    try:
        while left:
            written = os.pwritev(file, left, at)
            at += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = left[0][written:]
    except OSError as error:
        raise as_refusal(error) from error


def room(place: int | Path) -> int:
    """How many bytes of recordings fit on the disk of a file or folder."""
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize - RESERVE_BYTES


def as_refusal(error: OSError) -> Exception:
    """A 507 for a full disk; any other error as it is."""
    return no_space() if error.errno in _FULL else error


def no_space() -> Refusal:
    """A 507."""
    return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, "the server's disk is full")


def too_long(limit: int) -> Refusal:
    """A 413."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the upload would grow beyond its {limit} bytes")

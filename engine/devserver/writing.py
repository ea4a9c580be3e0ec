"""Bytes to the disk: whole pieces, off the event loop, one behind the other."""

import asyncio
import errno
import os
from contextlib import suppress
from http import HTTPStatus

import anyio

from .errors import Refusal
from .headers import Digest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_all(file: int, data: bytes, at: int, digest: Digest | None) -> None:
    """Write ``data`` at an offset, however many calls it takes.

    Raises:
        Refusal: 507 when the disk is full.
    """
    if digest is not None:
        digest.update(data)
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(file, view, at)
            at += written
            view = view[written:]
    except OSError as error:
        if error.errno in _FULL:
            raise no_space() from error
        raise


def no_space() -> Refusal:
    """A 507."""
    return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, "the server's disk is full")


def too_long(limit: int) -> Refusal:
    """A 413."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the upload would grow beyond its {limit} bytes")


class Writer:
    """Writes one piece in a thread while the next one arrives.

    Attributes:
        offset: Where the next piece goes.
        written: Where the bytes end that are written for certain.
    """

    def __init__(self, file: int, offset: int, digest: Digest | None = None) -> None:
        self.offset = self.written = offset
        self._file = file
        self._digest = digest
        self._running: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Start writing ``data`` once the piece before it is written.

        Raises:
            Refusal: 507 when the disk is full.
        """
        await self.flush()
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(None, write_all, self._file, data, self.offset, self._digest)
        self.offset += len(data)

    async def flush(self) -> None:
        """Wait until all is written.

        Raises:
            Refusal: 507 when the disk is full.
        """
        if self._running is not None:
            await asyncio.shield(self._running)
            self._running = None
            self.written = self.offset

    async def settle(self) -> None:
        """Let nothing be under way any more, whatever becomes of it."""
        with anyio.CancelScope(shield=True), suppress(Refusal, OSError):
            await self.flush()

"""Pipes that children write to and we read from."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# What Linux lets everybody have (fs.pipe-max-size in pipe(7)). With the usual 64 KiB a child that writes as fast as it
# reads stands still whenever we do something else: a copy took a third longer [measured].
_WIDE_BYTES: Final = 1 << 20
# Waking up for every few kilobytes costs a copy a tenth of its processor time. Nobody fills a wide pipe in less.
_GATHER_S: Final = 0.003
_SET_PIPE_SIZE: Final[int | None] = getattr(fcntl, "F_SETPIPE_SZ", None)


class Reader:
    """The end of a pipe that is ours. Iterating over it gives what has come, until nobody is left who could write."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces of any size, none of them empty."""
        while True:
            await anyio.wait_readable(self._fd)
            data = os.read(self._fd, _WIDE_BYTES)
            if not data:
                return
            yield data
            await anyio.sleep(_GATHER_S)


@contextmanager
def pipe() -> Iterator[tuple[Reader, BinaryIO]]:
    """A wide pipe; close the end to write to once a child has it, or the other one never ends."""
    read_fd, write_fd = os.pipe()
    try:
        with os.fdopen(write_fd, "wb", buffering=0) as writer:
            os.set_blocking(read_fd, False)
            if _SET_PIPE_SIZE is not None:
                with suppress(OSError):  # somebody has used up what one user may have in pipes: it works as it is
                    fcntl.fcntl(read_fd, _SET_PIPE_SIZE, _WIDE_BYTES)
            yield Reader(read_fd), writer
    finally:
        os.close(read_fd)

"""Connections made before there is anything to send over them: while a command loads, and asks what a server offers.

A round trip to a satellite and back is 0.6 s, and a new connection costs one before its first byte.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from msgspec import Struct, field

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

KEPT_S: Final = 3.0  # servers close a connection on which nothing is asked, some from 5 s on


class _Spare(Struct):
    """A connection, or one in the making until `tried`."""

    raw: socket.socket | None = None
    since_s: float = 0.0
    tried: anyio.Event = field(default_factory=anyio.Event)
    dropped: bool = False

    def drop(self) -> None:
        """Nobody wants it any more."""
        self.dropped = True
        if self.raw is not None:
            self.raw.close()
            self.raw = None


class Ahead:
    """Spare connections by host and port. `connect` makes one to the first address that answers."""

    def __init__(self, connect: Callable[[str, int], Awaitable[socket.socket]]) -> None:
        self._connect = connect
        self._spares: dict[tuple[str, int], deque[_Spare]] = {}

    async def make(self, host: str, port: int, count: int) -> None:
        """Make so many connections to where none was made before. What fails is tried again by who needs it."""
        if (host, port) in self._spares:
            return
        self._spares[host, port] = deque(_Spare() for _ in range(count))
        async with anyio.create_task_group() as tasks:
            for spare in self._spares[host, port]:
                tasks.start_soon(self._fill, spare, host, port)

    async def take(self, host: str, port: int) -> socket.socket | None:
        """A connection that is ready, or about to be; None if there is none."""
        spares = self._spares.get((host, port))
        while spares:
            spare = spares.popleft()
            try:
                await spare.tried.wait()
            except BaseException:
                spare.drop()
                raise
            if spare.raw is not None and time.monotonic() - spare.since_s < KEPT_S and not is_readable(spare.raw):
                return spare.raw
            spare.drop()
        return None

    def close(self) -> None:
        """Close those that nobody took."""
        for spares in self._spares.values():
            for spare in spares:
                spare.drop()
            spares.clear()

    async def _fill(self, spare: _Spare, host: str, port: int) -> None:
        try:
            with contextlib.suppress(OSError):
                spare.raw = await self._connect(host, port)
            spare.since_s = time.monotonic()
        finally:
            if spare.dropped:
                spare.drop()
            spare.tried.set()


def is_readable(connection: socket.socket) -> bool:
    """Whether an idle connection has something to say: its end, as a rule."""
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))

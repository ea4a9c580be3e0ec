"""Drives conversations, each over a line: one connection of its own. Who sends much keeps a line for itself."""

from __future__ import annotations

import contextlib
import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from ..core.control import MAX_LANES, LaneControl
from ..wire.address import origin
from .ahead import Ahead
from .brake import Brake
from .clock import SystemClock
from .connecting import connected
from .credentials import Credentials
from .kernel import AUTO, fills
from .pace import Pace
from .proxies import goes_directly
from .sending import FIRST_PIECE_BYTES, LARGEST_PIECE_BYTES, Payload, Watch
from .watchdog import Watchdog
from .workforce import Workforce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..wire.message import Conversation
    from .clock import Clock
    from .line import Line, Shared, Transport

__all__ = ["FIRST_PIECE_BYTES", "LARGEST_PIECE_BYTES", "Brake", "Credentials", "Exchanger", "Payload", "Watch"]

T = TypeVar("T")


class Exchanger:
    """An HTTP client for conversations: lends lines, which share credentials and brake. Close it with `aclose`.

    `pace` says how fast each job may send.

    Raises:
        ConfigError: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        user_agent: str,
        transport: Transport | None = None,
        max_lanes: int = MAX_LANES,
        congestion: str = AUTO,
        pace: Pace | None = None,
    ) -> None:
        self.brake = Brake(clock)
        self.pace = pace or Pace(clock)
        control = None if transport else LaneControl(max_lanes, filling=fills(congestion))
        self.workforce = Workforce(control, self.pace.holds)
        self._clock = clock
        self._user_agent = user_agent
        self._transport = transport
        self._congestion = congestion
        self._credentials: dict[tuple[str, str, int], Credentials] = {}
        self._ahead = Ahead(connected) if transport is None and goes_directly() else None
        self._lines: list[Line] = []
        self._free: list[Line] = []
        if self._ahead is None:
            self._add_line()  # a proxy that cannot be used is told of before there is a job

    async def aclose(self) -> None:
        """Close every connection."""
        for line in self._lines:
            await line.aclose()
        if self._ahead is not None:
            self._ahead.close()

    async def connect_ahead(self, url: str, count: int) -> None:
        """Make the first `count` connections to where requests for `url` will go, before there are any."""
        if self._ahead is not None:
            with contextlib.suppress(ValueError):  # an address that cannot be used is told of when it is
                _, host, port = origin(url)
                await self._ahead.make(host, port, count)

    def authorize(self, credentials: Credentials) -> None:
        """Send these headers with every request to their origin from now on, instead of what was sent there before."""
        self._credentials[origin(credentials.url)] = credentials

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """Lend a connection that nobody else uses meanwhile; one that is idle already, or a new one."""
        if not self._free:
            self._add_line()
        line = self._free.pop()
        try:
            yield line
        finally:
            self._free.append(line)

    async def converse(
        self, conversation: Conversation[T], payload: Payload | None = None, watch: Watch | None = None
    ) -> T:
        """Run a conversation to its result, over whatever line is free.

        Raises:
            Fault: an exchange did not count and the conversation had no answer to that.
        """
        async with self.line() as line:
            return await line.converse(conversation, payload, watch)

    def _add_line(self) -> None:
        from .line import Line

        self._lines.append(Line(self._shared))
        self._free.append(self._lines[-1])

    @functools.cached_property
    def _shared(self) -> Shared:
        """What lines have in common. httpx is imported now: many commands never send anything."""
        from .line import Shared, keep_addresses_out_of_logs, trust

        keep_addresses_out_of_logs()
        watchdog = None
        if self._transport is None:
            watchdog = Watchdog(SystemClock(), self.brake.link, workforce=self.workforce)
        sockets = None
        if self._ahead is not None:
            from .sockets import Sockets

            sockets = Sockets(self._ahead)
        return Shared(
            self._clock,
            self.brake,
            self._user_agent,
            self._credentials,
            functools.cache(trust),
            self._transport,
            watchdog,
            self.pace,
            self._congestion,
            sockets,
        )

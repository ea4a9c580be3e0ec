"""Connections that cost a stranger more than they cost us.

uvicorn gives a connection as long as it likes to say what it wants. Here the head of a request has a deadline,
a connection that never shows a known key has one for all it does, and there are only so many connections: when they
are all taken, the one that has gone longest without showing a key makes room, so strangers cannot keep owners of
keys out. A request's body has no deadline but silence (``Body``): slow is alive.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import h11
from msgspec import Struct, field
from starlette.types import Scope
from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_SCOPE_KEY = "speechstream.connection"
_LINGER_S = 2.0  # how long a refused client may still send: a reset could overtake the refusal (RFC 9112, 9.6)
_LINGER_BYTES = 16 << 20
_FILES_A_CONNECTION = 2  # its socket, and the upload or body it writes
_OTHER_FILES = 64  # the database, the worker's pipes, the listener


class Crowd(Struct):
    """All connections of a service, and who of them has shown a key.

    Attributes:
        most: How many there may be at once.
        head_s: Seconds for the head of a request, from its first byte, and for the first one from the connection on.
            A connection may live twice as long without showing a known key.
    """

    most: int
    head_s: float
    _strangers: dict["Connection", None] = field(default_factory=dict)  # oldest first
    _known: set["Connection"] = field(default_factory=set)

    def enter(self, connection: "Connection") -> bool:
        """Count a new connection in; false when there is no room even at the cost of a stranger."""
        if len(self._strangers) + len(self._known) >= self.most:
            oldest = next(iter(self._strangers), None)
            if oldest is None:
                return False
            oldest.end()
        self._strangers[connection] = None
        return True

    def know(self, connection: "Connection") -> None:
        """A connection has shown a known key."""
        if connection in self._strangers:
            del self._strangers[connection]
            self._known.add(connection)

    def leave(self, connection: "Connection") -> None:
        """A connection is over."""
        self._strangers.pop(connection, None)
        self._known.discard(connection)


def most_connections(wanted: int) -> int:
    """Raise the limit of open files for so many connections, and tell how many it allows for."""
    needed = wanted * _FILES_A_CONNECTION + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, (soft - _OTHER_FILES) // _FILES_A_CONNECTION))


class Connection(H11Protocol):
    """One connection of a ``Crowd``."""

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        crowd: Crowd,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._crowd = crowd
        self._app = self.app
        self.app = self._introduced
        self._head: asyncio.TimerHandle | None = None
        self._life: asyncio.TimerHandle | None = None
        self._deaf_to: int | None = None

    async def _introduced(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        scope[_SCOPE_KEY] = self
        await self._app(scope, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Start the clocks, or refuse when there is no room."""
        super().connection_made(transport)
        if not self._crowd.enter(self):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", "retry-after: 1\r\n")
            return
        self._head = self.loop.call_later(self._crowd.head_s, self.end)
        self._life = self.loop.call_later(2 * self._crowd.head_s, self.end)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._crowd.leave(self)
        for clock in (self._head, self._life):
            if clock is not None:
                clock.cancel()
        super().connection_lost(exc)

    def show_key(self) -> None:
        """A request on this connection has shown a known key."""
        self._crowd.know(self)
        if self._life is not None:
            self._life.cancel()

    def end(self) -> None:
        """Close it whatever it does."""
        self._crowd.leave(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless nothing more is listened to."""
        if self._deaf_to is None:
            super().data_received(data)
            return
        self._deaf_to -= len(data)
        if self._deaf_to < 0:
            self.end()

    def handle_events(self) -> None:
        """Act on what has arrived, and keep the clock of a request's head."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            if self._head is not None:
                self._head.cancel()
                self._head = None
        elif self._head is None and self.conn.trailing_data[0] and not self.transport.is_closing():
            self._head = self.loop.call_later(self._crowd.head_s, self.end)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or too long, with the status that h11 suggests."""
        error = sys.exception()
        status = HTTPStatus.BAD_REQUEST
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == HTTPStatus(431):
            status, msg = HTTPStatus(431), "the head of the request is too long"
        if self.conn.our_state is h11.IDLE or (
            self.conn.our_state is h11.SEND_RESPONSE and not self.cycle.response_started
        ):
            self._refuse(status, msg)
        else:
            self.end()

    def _refuse(self, status: HTTPStatus, message: str, headers: str = "") -> None:
        """Say why and listen to nothing more; the peer has a moment to read it."""
        body = json.dumps({"message": message})
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{headers}connection: close\r\n\r\n{body}".encode()
        )
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._deaf_to = _LINGER_BYTES
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
        self._head = self.loop.call_later(_LINGER_S, self.end)

    def eof_received(self) -> None:
        """The peer says no more: after a refusal nothing is left to wait for."""
        if self._deaf_to is not None:
            self.transport.close()


def crowded(crowd: Crowd) -> type[H11Protocol]:
    """The protocol for a server whose connections are one crowd."""

    class Crowded(Connection):
        """A connection of this crowd."""

        def __init__(
            self,
            config: UvicornConfig,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop, crowd=crowd)

    return Crowded


def show_key(scope: Scope) -> None:
    """Tell a request's connection, where there is one, that the key is known."""
    connection = scope.get(_SCOPE_KEY)
    if connection is not None:
        connection.show_key()

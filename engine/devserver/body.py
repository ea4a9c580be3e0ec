"""Request bodies: bytes as they arrive, that another request or the end of the service can cut short.

An ASGI server hands over a body in small messages; a disk wants large writes. ``Body.pieces`` gathers
messages until a write is worth it, but never holds a byte back for longer than ``LINGER_S``. They stay as
they came: to join them would be one more copy of every byte.

``BodyMiddleware`` makes one ``Body`` a request, and sees to it that an answer given before the body was
read reaches its reader: closing a socket with unread bytes resets the connection, and the reset may
overtake the answer (RFC 9112, section 9.6).
"""

import enum
import math
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import Refusal

PIECE_BYTES = 1 << 20  # few thread hops a second at any speed, and little memory a request
PIECE_CHUNKS = 512  # half of what one writev takes (IOV_MAX), for those who send a few bytes at a time
LINGER_S = 0.1  # what a kill -9 may cost at any speed is a tenth of a second
_DRAIN_BYTES = 16 << 20  # what an early answer still reads: some buffers' worth, not a recording
_DRAIN_S = 2.0  # and for how long
_SCOPE_KEY = "speechstream.body"


class End(enum.Enum):
    """Why no more bytes come."""

    COMPLETE = "complete"
    CUT = "cut"
    IDLE = "idle"
    INTERRUPTED = "interrupted"
    STOPPING = "stopping"


class Body:
    """The body of one request. One task reads it; any task of the same loop may interrupt it."""

    def __init__(self, receive: Receive, headers: Headers, *, idle_timeout_s: float) -> None:
        length = headers.get("content-length")
        self.length = int(length) if length is not None and length.isascii() and length.isdigit() else None
        self._receive = receive
        self._idle_timeout_s = idle_timeout_s
        self._waits_for_continue = headers.get("expect", "").lower() == "100-continue"
        self._interruption: End | None = None
        self._waiting = anyio.CancelScope()
        absent = not self.length and "transfer-encoding" not in headers
        self.end: End | None = End.COMPLETE if absent else None

    def interrupt(self, why: End) -> None:
        """End the body where it is; what has arrived so far is still handed out."""
        self._interruption = self._interruption or why
        self._waiting.cancel()

    async def pieces(self) -> AsyncIterator[list[bytes]]:
        """Give out what arrives, as much at a time as is worth a write; afterwards ``end`` says why it ended."""
        gathered: list[bytes] = []
        size = 0
        due = anyio.current_time() + self._idle_timeout_s
        while self.end is None:
            chunk = await self._next(due)
            if chunk:
                if not gathered:
                    due = anyio.current_time() + LINGER_S
                gathered.append(chunk)
                size += len(chunk)
            enough = size >= PIECE_BYTES or len(gathered) >= PIECE_CHUNKS
            if gathered and (enough or not chunk or self.end is not None):
                yield gathered
                gathered, size = [], 0
                due = anyio.current_time() + self._idle_timeout_s
            elif chunk is None and self.end is None:
                self.end = End.IDLE

    async def read(self, limit_bytes: int) -> bytes:
        """Read the whole body into memory.

        Raises:
            Refusal: 413 when it is longer than the limit, and what ``require_whole`` says.
        """
        parts: list[bytes] = []
        size = 0
        async for chunks in self.pieces():
            size += sum(map(len, chunks))
            if size > limit_bytes:
                message = f"the body is longer than {limit_bytes} bytes"
                raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
            parts += chunks
        self.require_whole({})
        return b"".join(parts)

    def require_whole(self, told: Mapping[str, str]) -> None:
        """Raise what tells the client that its body was not taken whole, with these headers.

        Raises:
            Refusal: 423 when another request took over, 503 when the service stops, 408 when the client fell
                silent or is gone.
        """
        match self.end:
            case End.COMPLETE:
                return
            case End.INTERRUPTED:
                raise Refusal(HTTPStatus.LOCKED, "another request has taken over this upload", headers=told)
            case End.STOPPING:
                again = {**told, "Retry-After": "1"}
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the service is stopping", headers=again)
            case _:
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive", headers=told)

    async def drain(self) -> None:
        """Read and drop what the client still sends, within bounds."""
        if self._waits_for_continue or self.end is End.STOPPING:
            return
        dropped = 0
        self._interruption = None
        until = anyio.current_time() + _DRAIN_S
        while self.end is not End.COMPLETE and self.end is not End.CUT and dropped < _DRAIN_BYTES:
            chunk = await self._next(until)
            if chunk is None:
                return
            dropped += len(chunk)

    async def _next(self, until: float) -> bytes | None:
        """Take one message; None when ``until`` has come, what is here already when somebody interrupts."""
        with anyio.CancelScope(deadline=until) as self._waiting:
            if self._interruption is None:
                return self._take(await self._receive())
        self.end = self._interruption
        return None if self.end is None else _left_behind(self._receive) or None

    def _take(self, message: Message) -> bytes:
        self._waits_for_continue = False
        if message["type"] == "http.disconnect":
            self.end = End.CUT
            return _left_behind(self._receive)
        if not message.get("more_body", False):
            self.end = End.COMPLETE
        chunk: bytes = message.get("body", b"")
        return chunk


def _left_behind(receive: Receive) -> bytes:
    """Take bytes that arrived before the connection died but were not handed out.

    uvicorn answers ``http.disconnect`` although its request cycle still buffers up to some hundred KiB.
    They were sent and received, so they count. Without such a buffer there is nothing to take.
    """
    cycle = getattr(receive, "__self__", None)
    left = bytes(getattr(cycle, "body", b""))
    if left:
        cycle.body = bytearray()  # type: ignore[union-attr]  # it has one, or nothing would be left
    return left


def body_of(scope: Scope) -> Body:
    """The body that ``BodyMiddleware`` made for this request."""
    body: Body = scope[_SCOPE_KEY]
    return body


class Bodies:
    """The bodies being read right now, to end them all when the service stops."""

    def __init__(self) -> None:
        self._open: set[Body] = set()
        self._stopping = False

    def add(self, body: Body) -> None:
        """Register a body; it is cut at once when the service is already stopping."""
        self._open.add(body)
        if self._stopping:
            body.interrupt(End.STOPPING)

    def discard(self, body: Body) -> None:
        """Forget a body whose request is answered."""
        self._open.discard(body)

    def stop(self) -> None:
        """End every body where it is, and every later one."""
        self._stopping = True
        for body in self._open:
            body.interrupt(End.STOPPING)


class BodyMiddleware:
    """Gives each request its ``Body`` and closes connections whose body nobody will read."""

    def __init__(self, app: ASGIApp, *, bodies: Bodies, idle_timeout_s: float = math.inf) -> None:
        self._app = app
        self._bodies = bodies
        self._idle_timeout_s = idle_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = Body(receive, Headers(scope=scope), idle_timeout_s=self._idle_timeout_s)
        scope[_SCOPE_KEY] = body
        closing = False

        async def answer(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start" and body.end is not End.COMPLETE:
                closing = True
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            elif message["type"] == "http.response.body" and not message.get("more_body") and closing:
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        self._bodies.add(body)
        try:
            await self._app(scope, receive, answer)
        finally:
            self._bodies.discard(body)

"""A request's body as it leaves: read from the artifact piece by piece, so memory stays flat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..model import Span
    from ..wire.message import Request
    from .clock import Clock
    from .pace import Allowance

FIRST_PIECE_BYTES: Final = 128 << 10  # what waits for a full socket should stay in the processor's cache until it goes
LARGEST_PIECE_BYTES: Final = 1 << 20  # where the socket takes all at once, each piece costs only time
QUICK_BYTES_S: Final = 5e8  # only what is not waited for is taken so quickly


class Payload(Protocol):
    """Where a span's bytes come from."""

    async def fill(self, buffer: memoryview, offset: int) -> None:
        """Put the bytes from `offset` on into the buffer, as many as it holds, or raise what says why not."""


class Watch(Struct):
    """What the sender of a request wants to know and to have done while it is on its way.

    `on_sent` is told of every piece the socket has taken, by its size, and of the difference (below 0) where the
    connection was cut and the kernel knows that less has left this machine. `on_arrived` is told how many bytes of the
    body the peer's kernel has acknowledged in all, where that can be known, else how many the socket has taken.
    `allowance` says how fast the body may leave; without one, as fast as it goes.
    """

    on_sent: Callable[[int], None] | None = None
    on_arrived: Callable[[int], None] | None = None
    before_final_byte: Callable[[], Awaitable[None]] | None = None
    allowance: Allowance | None = None


class Outgoing:
    """The body of one request on its way.

    `all_sent` is True from the moment the last byte is handed over; `all_taken` once the socket has taken it, and
    `taken_bytes` is how many it has. `unobserved` is set where nobody looks at the connection: then taken is arrived.
    """

    def __init__(self, request: Request, payload: Payload | None, watch: Watch, clock: Clock) -> None:
        self._body = request.body
        self._commits = request.final_byte_commits
        self._payload = payload
        self._watch = watch
        self._clock = clock
        self.all_sent = self.all_taken = request.body.size_bytes == 0
        self.taken_bytes = 0
        self.unobserved = False
        self._arrived_bytes = 0
        self._told_bytes = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body's bytes, in pieces that grow while they go quickly."""
        async for piece in self.fleeting():
            yield bytes(piece)

    async def fleeting(self) -> AsyncIterator[bytes | memoryview]:
        """The same pieces, each of which holds only until the next one is asked for: their buffer is the same."""
        left = self._body.size_bytes
        async for piece in self._all():
            left -= len(piece)
            if left == 0:
                if self._commits and self._watch.before_final_byte is not None:
                    await self._watch.before_final_byte()
                self.all_sent = True
            yield piece
            self.taken_bytes += len(piece)
            self.all_taken = left == 0
            if self.unobserved:
                self.tell_arrived(self.taken_bytes)

    def tell_arrived(self, acked_bytes: int) -> None:
        """The peer's kernel has so many bytes of it, more or less: heads and TLS records are only estimated."""
        arrived_bytes = min(max(0, acked_bytes), self._body.size_bytes)
        if arrived_bytes > self._arrived_bytes:
            self._arrived_bytes = arrived_bytes
            if self._watch.on_arrived is not None:
                self._watch.on_arrived(arrived_bytes)

    def tell_left(self, left_bytes: int) -> None:
        """No more of it will leave, and so much has, the head included; what else the socket took is gone with it."""
        difference = min(max(0, left_bytes), self._body.size_bytes) - self._told_bytes
        if difference < 0:
            self._tell_sent(difference)

    def _tell_sent(self, size_bytes: int) -> None:
        self._told_bytes += size_bytes
        if self._watch.on_sent is not None:
            self._watch.on_sent(size_bytes)

    async def _all(self) -> AsyncIterator[bytes | memoryview]:
        if self._body.before:
            yield self._body.before
        if self._body.span is not None and self._body.span.size_bytes:
            async for piece in self._span(self._body.span):
                yield piece
        if self._body.after:
            yield self._body.after

    async def _span(self, span: Span) -> AsyncIterator[memoryview]:
        if self._payload is None:
            raise RuntimeError("a request with a span needs a payload")
        offset, size = span.start, FIRST_PIECE_BYTES
        buffer = memoryview(bytearray(min(LARGEST_PIECE_BYTES, span.size_bytes)))
        while offset < span.stop:
            allowed = min(size, span.stop - offset)
            if self._watch.allowance is not None:
                allowed = await self._watch.allowance.granted(allowed)
            piece = buffer[:allowed]
            await self._payload.fill(piece, offset)
            started_s = self._clock.monotonic()
            yield piece
            offset += len(piece)
            self._tell_sent(len(piece))
            if (self._clock.monotonic() - started_s) * QUICK_BYTES_S < len(piece):
                size = min(size * 2, LARGEST_PIECE_BYTES)
            else:
                size = max(size // 2, FIRST_PIECE_BYTES)

"""HTTP/1.1 (RFC 9112) over one connection: h11 says what it means, we carry the bytes.

A body goes from whoever reads it to the kernel with nothing in between: h11 learns afterwards how much of it there was.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, cast

import anyio
import h11

from .sockets import Broken, Late

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from .sockets import Connection

Headers = list[tuple[bytes, bytes]]
MOST_HEAD_BYTES: Final = 100 << 10
_READ_BYTES: Final = 64 << 10
_RENEWED_EVERY_S: Final = 1.0


class _Written:
    """So many bytes of a body that are with the kernel already; h11 asks what it is given only for its length."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        return self._size_bytes


class Http1:
    """One request at a time, and its reply. Kept between two for `keepalive_s` seconds, as long as both sides want."""

    def __init__(self, connection: Connection, keepalive_s: float) -> None:
        self.connection = connection
        self._keepalive_s = keepalive_s
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD_BYTES)
        self._idle_since_s = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether a request may go over it: it has been idle for a moment only, and its peer has not ended it."""
        if self._h11.our_state is not h11.IDLE or self._h11.their_state is not h11.IDLE:
            return False
        return time.monotonic() - self._idle_since_s <= self._keepalive_s and not self.connection.has_something_to_say

    async def ask(
        self,
        request: tuple[bytes, bytes, Headers],
        body: AsyncIterable[bytes | memoryview],
        *,
        write_s: float,
        read_s: float,
    ) -> h11.Response:
        """Send a request (its method, target and headers) and return the head of its reply.

        A server may refuse a request and close while the request is still on its way: what it said counts.

        Raises:
            Broken: the connection broke before the reply.
            Late: nothing could be written, or nothing was heard, for as long as was allowed.
            h11.LocalProtocolError: the request is none.
            h11.RemoteProtocolError: the reply is none.
        """
        method, target, headers = request
        head = self._h11.send(h11.Request(method=method, target=target, headers=headers))
        with contextlib.suppress(Broken):
            await self._say(head, body, write_s)
        while not isinstance(event := await self._heard(read_s), h11.Response):
            pass
        return event

    async def reply_body(self, read_s: float) -> AsyncIterator[bytes]:
        """What follows the head of the reply.

        Raises:
            Broken: the connection broke.
            Late: nothing was heard for as long as was allowed.
            h11.RemoteProtocolError: it is not what the head said.
        """
        while isinstance(event := await self._heard(read_s), h11.Data):
            yield bytes(event.data)

    def end(self) -> None:
        """The exchange is over: the connection stays for another one if both have said all, else it is closed."""
        unasked, _ = self._h11.trailing_data
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not unasked:
            self._h11.start_next_cycle()
            self._idle_since_s = time.monotonic()
        else:
            self.connection.close()

    async def _say(self, head: bytes, body: AsyncIterable[bytes | memoryview], write_s: float) -> None:
        """Have the kernel take it all. A time limit of its own for each piece would cost as much as the rest of it."""
        sent_bytes = 0
        try:
            with anyio.fail_after(write_s) as limit:
                renewed_s = time.monotonic()
                await self.connection.write(head)
                async for piece in body:
                    if (now_s := time.monotonic()) - renewed_s > _RENEWED_EVERY_S:
                        limit.deadline, renewed_s = anyio.current_time() + write_s, now_s
                    await self.connection.write(piece)
                    sent_bytes += len(piece)
        except TimeoutError as error:
            raise Late(str(error)) from error
        self._h11.send_with_data_passthrough(h11.Data(data=cast("bytes", _Written(sent_bytes))))
        self._h11.send(h11.EndOfMessage())

    async def _heard(self, read_s: float) -> h11.Event | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            received = await self.connection.read(_READ_BYTES, read_s)
            if not received and self._h11.their_state is h11.SEND_RESPONSE:
                raise h11.RemoteProtocolError("the server ended the connection without a reply")
            self._h11.receive_data(received)
        return cast("h11.Event | type[h11.PAUSED]", event)

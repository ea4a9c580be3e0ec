"""HTTP/1.1 over one connection: what is said, what is heard, and when the connection may serve again."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h11
import pytest

from engine.runtime import http1 as module
from engine.runtime.http1 import Http1
from engine.runtime.sockets import Broken, Connection, Late

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio
HEADERS = [(b"Host", b"speech.example")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
BODY_BYTES = 64 << 20  # more than any socket's buffers take
PATIENCE_S = 20.0
KEEPALIVE_S = 3.0


@asynccontextmanager
async def talking(serve: Callable[[socket.socket], None]) -> AsyncIterator[Http1]:
    """A connection to a server that does `serve` to it in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.settimeout(PATIENCE_S)
    ours.setblocking(False)  # noqa: FBT003 - the call's own form
    thread = threading.Thread(target=serve, args=(theirs,))
    thread.start()
    http = Http1(Connection(ours, {}), KEEPALIVE_S)
    try:
        yield http
    finally:
        http.connection.close()
        theirs.close()
        thread.join(PATIENCE_S)


async def nothing() -> AsyncIterator[bytes]:
    """An empty body."""
    return
    yield b""  # what makes it a generator


async def zeros(size_bytes: int) -> AsyncIterator[bytes]:
    """A body."""
    for _ in range(0, size_bytes, 1 << 20):
        yield bytes(1 << 20)


async def get(http: Http1) -> tuple[int, bytes]:
    """One question, and its whole answer."""
    reply = await http.ask((b"GET", b"/", HEADERS), nothing(), write_s=PATIENCE_S, read_s=PATIENCE_S)
    body = b"".join([piece async for piece in http.reply_body(PATIENCE_S)])
    http.end()
    return reply.status_code, body


async def patch(http: Http1, write_s: float = PATIENCE_S) -> h11.Response:
    """A request whose body is long."""
    length = (b"Content-Length", b"%d" % BODY_BYTES)
    return await http.ask((b"PATCH", b"/", [*HEADERS, length]), zeros(BODY_BYTES), write_s=write_s, read_s=PATIENCE_S)


def read_head(line: socket.socket) -> None:
    """Read one request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += line.recv(1)


async def test_a_connection_serves_again() -> None:
    """Both have said all: the next request goes the same way."""

    def serve(line: socket.socket) -> None:
        for _ in range(2):
            read_head(line)
            line.sendall(OK)

    async with talking(serve) as http:
        assert [await get(http) for _ in range(2)] == [(200, b"hi"), (200, b"hi")]
        assert http.usable


@pytest.mark.parametrize(
    "said",
    [
        OK + b"HTTP/1.1 200 OK\r\n",
        OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
        OK.replace(b"1.1", b"1.0"),
        b"HTTP/1.1 200 OK\r\n\r\nhi",
    ],
    ids=["more than was asked", "it says so", "an old protocol", "an end by closing"],
)
async def test_a_connection_that_must_not_serve_again(said: bytes) -> None:
    """Whatever else stands there is no answer to what is asked next."""

    def serve(line: socket.socket) -> None:
        read_head(line)
        line.sendall(said)
        line.shutdown(socket.SHUT_WR)

    async with talking(serve) as http:
        assert await get(http) == (200, b"hi")
        assert not http.usable


async def test_an_idle_connection_is_not_trusted_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers close what idles: a request must never meet that moment."""

    def serve(line: socket.socket) -> None:
        read_head(line)
        line.sendall(OK)

    async with talking(serve) as http:
        await get(http)
        assert http.usable
        later_s = time.monotonic() + KEEPALIVE_S + 0.1
        monkeypatch.setattr(time, "monotonic", lambda: later_s)
        assert not http.usable


async def test_a_refusal_counts_although_the_request_was_still_on_its_way() -> None:
    """A server may say no and hang up before it has read it all; then nothing else goes over this connection."""

    def serve(line: socket.socket) -> None:
        read_head(line)
        line.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        line.close()

    async with talking(serve) as http:
        reply = await patch(http)
        http.end()
        assert reply.status_code == 413
        assert not http.usable


async def test_informational_replies_are_passed_over() -> None:
    """The reply is the one behind them (RFC 9110 section 15.2)."""

    def serve(line: socket.socket) -> None:
        read_head(line)
        line.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)

    async with talking(serve) as http:
        assert await get(http) == (200, b"hi")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", h11.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", h11.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (module.MOST_HEAD_BYTES + 1), h11.RemoteProtocolError),
    ],
    ids=["nothing", "another protocol", "a head without end"],
)
async def test_what_is_no_reply(said: bytes, error: type[Exception]) -> None:
    """Said as such, with bounded memory."""

    def serve(line: socket.socket) -> None:
        read_head(line)
        try:
            line.sendall(said)
            line.shutdown(socket.SHUT_WR)
        except OSError:  # hung up on, rightly
            return

    async with talking(serve) as http:
        with pytest.raises(error):
            await get(http)
        http.end()
        assert not http.usable


async def test_a_peer_that_reads_nothing_is_left_in_time() -> None:
    """However long the body, the limit is for what does not move."""
    over = threading.Event()

    def serve(line: socket.socket) -> None:
        read_head(line)
        over.wait(PATIENCE_S)

    async with talking(serve) as http:
        with pytest.raises(Late):
            await patch(http, write_s=0.05)
        over.set()


async def test_the_limit_for_writing_is_renewed_while_bytes_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may take longer than what a piece of it is given."""
    monkeypatch.setattr(module, "_RENEWED_EVERY_S", 0.0)

    def serve(line: socket.socket) -> None:
        read_head(line)
        for _ in range(BODY_BYTES >> 20):
            left = 1 << 20
            while left:
                left -= len(line.recv(left))
            time.sleep(0.01)
        line.sendall(OK)

    async with talking(serve) as http:
        assert (await patch(http, write_s=0.3)).status_code == 200


async def test_a_broken_connection_is_told() -> None:
    """With nothing to read, the write's failure is the reader's."""

    def serve(line: socket.socket) -> None:
        read_head(line)
        line.close()

    async with talking(serve) as http:
        with pytest.raises((Broken, h11.RemoteProtocolError)):
            await patch(http)

"""Connections that take their time, and too many of them: strangers wait outside, a slow upload lives."""

import contextlib
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]
HEAD_S = 0.4
QUICK = ("--no-transcriber", "--head-timeout", str(HEAD_S))


def ended(line: socket.socket) -> bool:
    """Wait until the service has ended a connection, whatever it says before."""
    try:
        while line.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def dribble(line: socket.socket, data: Iterator[bytes], every_s: float) -> bool:
    """Send little by little until the service ends the connection."""
    for piece in data:
        try:
            line.sendall(piece)
        except ConnectionError:
            return True
        readable, _, _ = select.select([line], [], [], every_s)
        if readable:
            return ended(line)
    return False


def for_ever(piece: bytes) -> Iterator[bytes]:
    """Many times the same, for longer than any deadline here."""
    return (piece for _ in range(400))


@contextlib.contextmanager
def many(service: "Service", count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(service.connect()) for _ in range(count)]


def test_a_connection_that_says_nothing_is_ended(start: Start) -> None:
    """Silence is not paid for."""
    with start(*QUICK).connect() as line:
        assert ended(line)


@pytest.mark.parametrize("piece", [b"GET ", b"X: a\r\n", b"\r\n"], ids=["a word", "fields", "blank lines"])
def test_a_dribbled_head_is_ended(start: Start, piece: bytes) -> None:
    """However regularly bytes come, a head has its time and no more."""
    with start(*QUICK).connect() as line:
        line.sendall(b"" if piece == b"\r\n" else b"GET /v1/status HTTP/1.1\r\n")
        assert dribble(line, for_ever(piece), HEAD_S / 10)


def test_a_dribbled_second_head_is_ended_too(start: Start) -> None:
    """A connection that was in order once, key and all, has no more time for its next request."""
    service = start(*QUICK)
    with service.connect() as line:
        line.sendall(service.by_hand("GET /v1/status?processing_id=x HTTP/1.1").replace(b"Connection: close\r\n", b""))
        assert service.statuses(line.recv(65536)) == [404]
        assert dribble(line, for_ever(b"GET "), HEAD_S / 10)


def test_a_stranger_s_connection_ends_whatever_it_asks(start: Start) -> None:
    """Requests that need no key do not keep a connection open for ever."""
    with start(*QUICK).connect() as line:
        question = b"OPTIONS /v1/uploads HTTP/1.1\r\nHost: x\r\n\r\n"
        line.sendall(question)
        over = False
        for _ in range(400):
            try:
                if not line.recv(65536):
                    over = True
                    break
                line.sendall(question)
            except ConnectionError:
                over = True
                break
            time.sleep(HEAD_S / 20)
        assert over


def test_a_stranger_that_never_reads_is_ended(start: Start) -> None:
    """Answers that nobody takes do not pile up: memory stays, and the connection goes."""
    service = start(*QUICK)
    before = psutil.Process(service.process.pid).memory_info().rss
    with service.connect() as line:
        line.settimeout(HEAD_S)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(100_000):
                line.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        line.settimeout(30)
        with contextlib.suppress(ConnectionError):
            while line.recv(1 << 20):
                pass
    assert psutil.Process(service.process.pid).memory_info().rss < before + (32 << 20)
    assert service.offset(service.create(0)) == 0


def test_a_stranger_s_body_is_not_waited_for(start: Start) -> None:
    """Without a known key nothing of a body is read but what lets the refusal be seen."""
    with start("--no-transcriber").connect() as line:
        line.sendall(b"POST /v1/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 401")
        assert dribble(line, for_ever(b"x"), 0.05)


def test_a_slow_upload_lives(start: Start) -> None:
    """One that moves, if only a byte at a time, outlives every deadline that a head has."""
    service = start(*QUICK, "--idle-timeout", "5")
    path = service.create(60)
    with service.half_sent(path, 0, 60, b"") as line:
        for _ in range(60):
            line.sendall(b"x")
            time.sleep(HEAD_S / 10)
        assert line.recv(65536).startswith(b"HTTP/1.1 204")
    assert service.offset(path) == 60


def test_a_silent_body_is_ended_and_what_came_counts(start: Start) -> None:
    """Its upload goes on later, from there."""
    service = start("--no-transcriber", "--idle-timeout", "0.3")
    path = service.create(10)
    with service.half_sent(path, 0, 10, b"abc") as line:
        assert line.recv(65536).startswith(b"HTTP/1.1 408")
    assert service.offset(path) == 3
    assert service.patch(path, 3, b"defghij").status_code == 204


def test_strangers_make_room_for_whoever_has_a_key(start: Start, noise: bytes) -> None:
    """Ten times more connections than there is room for do not keep an upload out, nor end one under way."""
    service = start("--no-transcriber", "--connections", "20")
    path = service.create(len(noise))
    with service.half_sent(path, 0, len(noise), noise[:1000]) as line:
        service.wait_for(lambda: service.offset_unasked(path) == 1000)
        with many(service, 200) as idle:
            newcomer = service.by_hand("POST /v1/uploads HTTP/1.1", "Upload-Length: 3")
            assert service.statuses(service.said(newcomer)) == [201]
            line.sendall(noise[1000:])
            assert line.recv(65536).startswith(b"HTTP/1.1 204")
            assert all(ended(connection) for connection in idle[:150])


def test_no_more_connections_than_there_is_room_for(start: Start) -> None:
    """When all of them have shown a key, a new one is told to come again."""
    service = start("--no-transcriber", "--connections", "4")
    paths = [service.create(10) for _ in range(4)]
    service.http.close()
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(service.half_sent(path, 0, 10, b"abc")) for path in paths]
        service.wait_for(lambda: all(service.offset_unasked(path) == 3 for path in paths))
        answer = service.said(service.by_hand("GET /v1/status HTTP/1.1"))
        assert service.statuses(answer) == [503]
        assert b"retry-after: 1" in answer
        lines[0].sendall(b"0123456")
        assert lines[0].recv(65536).startswith(b"HTTP/1.1 204")
    service.wait_for(lambda: service.statuses(service.said(service.by_hand("GET /v1/status HTTP/1.1"))) == [400])


def test_a_key_has_so_many_requests_at_once(start: Start) -> None:
    """One more is 429 with Retry-After, and goes when another has ended."""
    service = start("--no-transcriber", "--requests-at-once", "3")
    paths = [service.create(10) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(service.half_sent(path, 0, 10, b"abc")) for path in paths[:3]]
        service.wait_for(lambda: all(service.offset_unasked(path) == 3 for path in paths[:3]))
        refused = service.head(paths[3])
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        lines[0].sendall(b"0123456")
        assert lines[0].recv(65536).startswith(b"HTTP/1.1 204")
        service.wait_for(lambda: service.head(paths[3]).status_code == 200)


def test_half_open_requests_do_not_delay_the_end(start: Start) -> None:
    """SIGTERM ends the service however many connections hang in their heads."""
    service = start("--no-transcriber")
    with many(service, 50) as lines:
        for line in lines[:25]:
            line.sendall(b"GET /v1/sta")
        assert service.end(signal.SIGTERM) == 0


def test_many_at_once_are_all_served(start: Start, noise: bytes) -> None:
    """The lanes of two recordings at once, each with its bytes."""
    service = start("--no-transcriber")
    data = noise[:100_000]
    with ThreadPoolExecutor(32) as pool:
        paths = list(pool.map(lambda _: service.finished(data), range(96)))
    assert all(service.file(path).read_bytes() == data for path in paths)

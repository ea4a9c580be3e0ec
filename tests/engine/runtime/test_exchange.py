from __future__ import annotations

import errno
import logging
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from engine.errors import ConfigError
from engine.faults import Fault, Interrupted, Nonsense, Offline, Unreachable
from engine.model import Span
from engine.redaction import Secret
from engine.runtime.clock import SystemClock
from engine.runtime.exchange import FIRST_PIECE_BYTES, LARGEST_PIECE_BYTES, Credentials, Exchanger, Watch
from engine.runtime.proxies import goes_directly
from engine.runtime.sending import Outgoing
from engine.wire.message import Body, Conversation, Request, Response
from tests.engine.world import FakeClock, Script, answers, breaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import SocketStream

pytestmark = pytest.mark.anyio
SERVICE = "https://speech.example/v1"


def asking(request: Request) -> Conversation[Response]:
    """The shortest conversation: one question, one answer."""
    return (yield request)


@asynccontextmanager
async def exchanging(script: httpx.AsyncBaseTransport, clock: FakeClock) -> AsyncIterator[Exchanger]:
    exchanger = Exchanger(clock, user_agent="speechstream/test", transport=script)
    try:
        yield exchanger
    finally:
        await exchanger.aclose()


class Zeros:
    """A payload of zeros that keeps what was asked of it."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []

    async def fill(self, buffer: memoryview, offset: int) -> None:
        """As many zeros as there is room for."""
        self.reads.append((offset, len(buffer)))
        buffer[:] = bytes(len(buffer))


async def test_a_request_as_it_leaves(clock: FakeClock) -> None:
    """Always with a length, never compressed, and with what the conversation said."""
    script = Script(answers(200, b"hello", X_Reply="yes"))
    async with exchanging(script, clock) as exchanger:
        request = Request("POST", f"{SERVICE}/upload", (("X-Asked", "1"),), Body(b"ab", Span(5, 8), b"yz"))
        response = await exchanger.converse(asking(request), Zeros())
    (sent,) = script.seen
    assert (sent.method, str(sent.url), sent.content) == ("POST", f"{SERVICE}/upload", b"ab\0\0\0yz")
    assert sent.headers["content-length"] == "7"
    assert "transfer-encoding" not in sent.headers
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["x-asked"] == "1"
    assert sent.headers["user-agent"] == "speechstream/test"
    assert (response.status, response.headers["x-reply"], response.body) == (200, "yes", b"hello")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://speech.example/v1/status", True),
        ("https://speech.example:443/files/1", True),
        ("http://speech.example/v1/status", False),
        ("https://speech.example:8443/v1/status", False),
        ("https://cdn.example/files/1", False),
        ("https://speech.example.evil.example/", False),
        ("https://speech.example@evil.example/", False),
    ],
)
async def test_the_key_goes_only_to_its_origin(clock: FakeClock, url: str, expected: bool) -> None:  # noqa: FBT001 - a column
    """Another host, port or scheme never sees it, whatever a server's Location says."""
    script = Script(answers(200))
    async with exchanging(script, clock) as exchanger:
        exchanger.authorize(Credentials(SERVICE, (("Authorization", "Bearer k"),)))
        await exchanger.converse(asking(Request("GET", url)))
    assert (script.seen[0].headers.get("authorization") == "Bearer k") is expected


async def test_redirects_are_not_followed(clock: FakeClock) -> None:
    """The reply is handed over as it is; nothing goes where it points."""
    script = Script(answers(307, location="https://elsewhere.example/"))
    async with exchanging(script, clock) as exchanger:
        assert (await exchanger.converse(asking(Request("GET", SERVICE)))).status == 307
    assert script.over


def connecting(*causes: OSError) -> httpx.ConnectError:
    """A failed connection as the network library reports it, one cause for each address tried."""
    error = httpx.ConnectError("All connection attempts failed")
    cause = OSError("All connection attempts failed")
    cause.__cause__ = causes[0] if len(causes) == 1 else ExceptionGroup("multiple connection attempts failed", causes)
    error.__cause__ = cause
    return error


DOWN = OSError(errno.ENETUNREACH, "Network is unreachable")
CLOSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (connecting(DOWN), Offline),
        (connecting(DOWN, DOWN), Offline),
        (connecting(OSError(errno.EHOSTUNREACH, "No route to host")), Unreachable),
        (connecting(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")), Offline),
        (connecting(socket.gaierror(socket.EAI_NONAME, "Name or service not known")), Unreachable),
        (connecting(CLOSED), Unreachable),
        (connecting(CLOSED, DOWN), Unreachable),
        (httpx.ConnectError("no cause"), Unreachable),
        (httpx.ConnectTimeout("slow"), Unreachable),
        (httpx.ProxyError("proxy"), Unreachable),
        (httpx.ReadTimeout("silent"), Interrupted),
        (httpx.WriteTimeout("silent"), Interrupted),
        (httpx.ReadError("reset"), Interrupted),
        (httpx.WriteError("reset"), Interrupted),
        (httpx.RemoteProtocolError("closed"), Interrupted),
        (ConnectionResetError("reset"), Interrupted),
    ],
)
async def test_what_broke(clock: FakeClock, error: Exception, kind: type[Fault]) -> None:
    """No network here, no server there, or a connection that broke: three things that are waited out differently."""
    async with exchanging(Script(breaks(error)), clock) as exchanger:
        with pytest.raises(Fault) as caught:
            await exchanger.converse(asking(Request("GET", SERVICE)))
    assert type(caught.value) is kind


@pytest.mark.parametrize("error", [httpx.ReadTimeout("silent"), httpx.RemoteProtocolError("closed")])
@pytest.mark.parametrize(
    ("after_bytes", "sent_all"), [(0, False), (1, False), (FIRST_PIECE_BYTES, False), (None, True)]
)
async def test_whether_the_whole_request_had_left(
    clock: FakeClock,
    error: Exception,
    after_bytes: int | None,
    sent_all: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Only then may a job exist on the other side."""
    request = Request("POST", SERVICE, body=Body(b"", Span(0, 5 * FIRST_PIECE_BYTES), b"--end--"))
    async with exchanging(Script(breaks(error, after_bytes=after_bytes)), clock) as exchanger:
        with pytest.raises(Interrupted) as caught:
            await exchanger.converse(asking(request), Zeros())
    assert caught.value.sent_all is sent_all


@pytest.mark.parametrize("whole", [True, False])
async def test_an_answer_says_whether_it_waited_for_the_request(clock: FakeClock, whole: bool) -> None:  # noqa: FBT001 - a column
    """A gateway that answers before the body has left has handed no recording on."""

    async def early(_: httpx.Request) -> httpx.Response:
        return httpx.Response(502, stream=httpx.ByteStream(b""))

    request = Request("POST", SERVICE, body=Body(b"", Span(0, 5 * FIRST_PIECE_BYTES), b"--end--"))
    async with exchanging(Script(answers(502) if whole else early), clock) as exchanger:
        response = await exchanger.converse(asking(request), Zeros())
    assert (response.status, response.sent_all) == (502, whole)


async def test_new_credentials_replace_those_of_the_same_origin(clock: FakeClock) -> None:
    """One Authorization header, the newest; another origin keeps its own."""
    script = Script(answers(200), answers(200))
    async with exchanging(script, clock) as exchanger:
        exchanger.authorize(Credentials(SERVICE, (("Authorization", "Bearer old"), ("X-Old", "1"))))
        exchanger.authorize(Credentials("https://other.example/", (("Authorization", "Bearer other"),)))
        exchanger.authorize(Credentials("https://speech.example:443/files", (("Authorization", "Bearer new"),)))
        await exchanger.converse(asking(Request("GET", SERVICE)))
        await exchanger.converse(asking(Request("GET", "https://other.example/v1")))
    assert [request.headers.get_list("authorization") for request in script.seen] == [["Bearer new"], ["Bearer other"]]
    assert "x-old" not in script.seen[0].headers


PROXY_VARIABLES = [f"{name}_proxy" for name in ("all", "http", "https", "no")]


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no proxy."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "directly"),
    [
        ("HOME", "/", True),
        ("ALL_PROXY", "http://127.0.0.1:1", False),
        ("https_proxy", "http://127.0.0.1:1", False),
        ("no_proxy", "localhost", True),
    ],
)
def test_whether_anything_names_a_proxy(no_proxy: pytest.MonkeyPatch, name: str, value: str, directly: bool) -> None:  # noqa: FBT001 - a column
    """However it is spelt; what to keep from a proxy names none."""
    no_proxy.setenv(name, value)
    assert goes_directly() is directly


def test_a_proxy_that_cannot_be_used(clock: FakeClock, no_proxy: pytest.MonkeyPatch) -> None:
    """It is a setting that is wrong, said as such before anything is sent past it."""
    no_proxy.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigError, match="proxy") as caught:
        Exchanger(clock, user_agent="speechstream/test")
    assert "ALL_PROXY" in str(caught.value.hint)


@asynccontextmanager
async def answering_server() -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers 204 to every bodiless request, and the peers of its connections so far."""
    peers: list[int] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            peers.append(stream.extra(SocketAttribute.remote_port))
            received = BufferedByteReceiveStream(stream)
            with suppress(anyio.IncompleteRead, anyio.BrokenResourceError):
                while await received.receive_until(b"\r\n\r\n", 65536):
                    await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", peers
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("by_proxy", [False, True])
async def test_every_connection_notices_a_dead_peer(no_proxy: pytest.MonkeyPatch, by_proxy: bool) -> None:  # noqa: FBT001 - a column
    """The line knows its socket and sets it up, also where it leads to a proxy."""
    async with answering_server() as (url, _):
        if by_proxy:
            no_proxy.setenv("HTTP_PROXY", url)
        exchanger = Exchanger(SystemClock(), user_agent="speechstream/test")
        async with exchanger.line() as line:
            await line.converse(asking(Request("HEAD", "http://speech.example/" if by_proxy else url)))
            assert line._socket is not None
            assert line._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        await exchanger.aclose()


async def test_a_line_is_one_connection(no_proxy: pytest.MonkeyPatch) -> None:
    """Who holds a line has a connection of its own for all its requests; a line given back is lent again."""
    async with answering_server() as (url, peers):
        exchanger = Exchanger(SystemClock(), user_agent="speechstream/test")
        async with exchanger.line() as one, exchanger.line() as other:
            for line in (one, other, one, other):
                await line.converse(asking(Request("HEAD", url)))
            assert len(peers) == 2
        await exchanger.converse(asking(Request("HEAD", url)))
        assert len(peers) == 2
        await exchanger.aclose()


async def test_the_commitment_is_made_before_the_last_byte(clock: FakeClock) -> None:
    """What must be durable before the server can have everything is so while it still lacks something."""
    order: list[str] = []

    async def watching(request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for piece in request.stream:
            order.append(piece.decode())  # noqa: PERF401 - the moment of each is what counts
        return httpx.Response(200, stream=httpx.ByteStream(b""))

    async def commit() -> None:
        order.append("<commit>")

    request = Request("POST", SERVICE, body=Body(b"head", Span(0, 0), b"tail"), final_byte_commits=True)
    async with exchanging(Script(watching), clock) as exchanger:
        await exchanger.converse(asking(request), None, Watch(before_final_byte=commit))
    assert order == ["head", "<commit>", "tail"]


async def test_pieces_grow_while_they_go_quickly(clock: FakeClock) -> None:
    """Memory stays flat, and a quick link gets large writes; every byte is read once and told of once."""
    payload, told = Zeros(), list[int]()
    request = Request("PATCH", SERVICE, body=Body(span=Span(100, 100 + (5 << 20))))
    async with exchanging(Script(answers(204)), clock) as exchanger:
        await exchanger.converse(asking(request), payload, Watch(told.append))
    assert payload.reads[0] == (100, FIRST_PIECE_BYTES)
    assert max(size for _, size in payload.reads) == LARGEST_PIECE_BYTES
    assert [size for _, size in payload.reads] == told
    assert sum(told) == 5 << 20


async def test_what_is_written_at_once_needs_one_buffer(clock: FakeClock) -> None:
    """Each piece is gone before the next one takes its place; who keeps pieces gets bytes of their own."""

    class Counted(Zeros):
        async def fill(self, buffer: memoryview, offset: int) -> None:
            await super().fill(buffer, offset)
            buffer[0] = len(self.reads)

    request = Request("PATCH", SERVICE, body=Body(b"head", Span(0, 1 << 20), b"tail"))
    seen = [(bytes(piece), piece) async for piece in Outgoing(request, Counted(), Watch(), clock).fleeting()]
    kept = [piece async for piece in Outgoing(request, Counted(), Watch(), clock).pieces()]
    assert [now for now, _ in seen] == kept
    views = [piece for _, piece in seen if isinstance(piece, memoryview)]
    assert len(views) > 1
    assert len({id(view.obj) for view in views}) == 1
    assert {view[0] for view in views} == {len(views)}


async def test_what_never_left_was_not_sent(clock: FakeClock) -> None:
    """Of what the socket had taken when it was cut, only what the kernel says has left counts; never more than told."""
    told = list[int]()
    request = Request("PATCH", SERVICE, body=Body(span=Span(0, 1 << 20)))
    outgoing = Outgoing(request, Zeros(), Watch(told.append), clock)
    pieces = outgoing.pieces()
    for _ in range(3):
        await anext(pieces)
    taken_bytes = sum(told)
    outgoing.tell_left(taken_bytes + 5000)
    assert sum(told) == taken_bytes
    outgoing.tell_left(70_000)
    assert sum(told) == 70_000
    outgoing.tell_left(-200)
    assert sum(told) == 0


async def test_one_429_holds_everybody(clock: FakeClock) -> None:
    """While the brake is on no request leaves, whoever wants it to."""
    async with exchanging(Script(answers(200), answers(200)), clock) as exchanger:
        exchanger.brake.hold(30.0)
        exchanger.brake.hold(10.0)  # a shorter order does not end a longer one
        await exchanger.converse(asking(Request("GET", SERVICE)))
        assert clock.now_s == pytest.approx(1030.0)
        await exchanger.converse(asking(Request("GET", SERVICE)))
    assert clock.now_s == pytest.approx(1030.0)


async def test_a_reply_without_end_is_cut_off(clock: FakeClock) -> None:
    """A server cannot fill our memory."""
    async with exchanging(Script(answers(200, bytes((16 << 20) + 1))), clock) as exchanger:
        with pytest.raises(Nonsense, match="longer than 16 MiB") as caught:
            await exchanger.converse(asking(Request("GET", SERVICE)))
    assert caught.value.sent_all


@pytest.mark.parametrize("url", ["ftp://speech.example/", "https://", "https://speech.example:port/"])
async def test_an_address_that_is_none(clock: FakeClock, url: str) -> None:
    """Asking again would not help: the setting is wrong."""
    script = httpx.AsyncHTTPTransport()
    async with exchanging(script, clock) as exchanger:
        with pytest.raises((ConfigError, Fault)):
            await exchanger.converse(asking(Request("GET", url)))


async def test_a_conversation_may_answer_a_fault_itself(clock: FakeClock) -> None:
    """A fault is thrown where the request was yielded, and the conversation goes on if it knows how."""

    def stubborn() -> Conversation[int]:
        try:
            yield Request("GET", SERVICE)
        except Unreachable:
            return (yield Request("GET", SERVICE)).status
        raise AssertionError("the first request was not to succeed")

    async with exchanging(Script(breaks(connecting(CLOSED)), answers(204)), clock) as exchanger:
        assert await exchanger.converse(stubborn()) == 204


async def test_no_upload_address_reaches_a_log(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """Neither our log nor the HTTP library's shows a capability, at any level."""
    caplog.set_level(logging.DEBUG)
    url = Secret("https://speech.example/v1/uploads/7c9e6679f7425d40de944b?sig=c2lnbmF0dXJl")
    async with exchanging(Script(answers(200)), clock) as exchanger:
        await exchanger.converse(asking(Request("HEAD", url)))
    assert caplog.records
    assert "7c9e6679f7425d40de944b" not in caplog.text
    assert "c2lnbmF0dXJl" not in caplog.text

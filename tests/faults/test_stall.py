"""Connections that die without a word, on the real kernel: its acknowledgements are what the watchdog goes by."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec.structs import replace

from engine.faults import Fault as ExchangeFault
from engine.faults import Severed
from engine.model import Span
from engine.runtime.clock import SystemClock
from engine.runtime.exchange import Exchanger
from engine.wire.message import Body, Conversation, Request, Response
from tests.faults.command import Command, environment
from tests.faults.deaf import deafen, only_linux, undeafen
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.recording import sha256_of, write_wav
from tests.faults.service import Service

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from anyio.abc import SocketStream

pytestmark = only_linux
SIZE_BYTES = 8 << 20
RATE_BYTES_S = 2 << 20  # four seconds of upload: time to be interrupted in
SOME_BYTES = 1 << 20
PATIENCE_S = 60.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The real service, without a transcriber."""
    with Service(tmp_path / "service") as service:
        yield service


@pytest.fixture
def link(service: Service) -> Iterator[FaultProxy]:
    """A way to the service that is slow enough to be interrupted."""
    with FaultProxy("127.0.0.1", service.port, Plan(otherwise=Fault(rate_bytes_per_s=RATE_BYTES_S))) as proxy:
        yield proxy


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Bytes to bring there."""
    path = tmp_path / "recording.wav"
    write_wav(path, SIZE_BYTES, 1)
    return path


def wait_until(holds: Callable[[], bool]) -> None:
    """Let processes work until something holds."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("it did not come to that")
        time.sleep(0.01)


def uploading(recording: Path, tmp_path: Path, link: FaultProxy, *options: str) -> Command:
    """The real command, sending the recording over the link."""
    words = ("upload", str(recording), "--recipe", "as-is", "--progress", "json", "-v", *options)
    return Command(words, environment(tmp_path / "state", f"http://127.0.0.1:{link.port}/v1"))


def ears(link: FaultProxy) -> list[socket.socket]:
    """The link's end of every connection that the client has made and not closed."""
    sockets = [connection.down.writer.get_extra_info("socket") for connection in link.connections]
    return [ear for ear in sockets if ear is not None and ear.fileno() >= 0]


def arrived_whole(service: Service, recording: Path) -> bool:
    """Whether the service has one recording, and it is this one."""
    return [sha256_of(path) for path in service.recordings().values()] == [sha256_of(recording)]


@pytest.mark.long
@pytest.mark.parametrize("lanes", ["1", "4"])
def test_a_path_that_forgets_its_connections(
    service: Service, link: FaultProxy, recording: Path, tmp_path: Path, lanes: str
) -> None:
    """As a NAT does that was rebooted: old connections lead nowhere, new ones pass. Nobody is offline."""
    with uploading(recording, tmp_path, link, "--max-lanes", lanes) as command:
        wait_until(lambda: link.bytes_up > SOME_BYTES)
        before = link.count
        for ear in ears(link):
            deafen(ear)
        code, _ = command.finish()
    assert code == 0
    assert link.count > before
    assert [event for event in command.of("waiting") if event["seconds"] is None] == []
    assert arrived_whole(service, recording)


@pytest.mark.long
def test_a_tunnel(service: Service, link: FaultProxy, recording: Path, tmp_path: Path) -> None:
    """Nothing passes, then all does again: said once, and gone on from there, over the same connection or a new one."""
    with uploading(recording, tmp_path, link) as command:
        wait_until(lambda: link.bytes_up > SOME_BYTES)
        in_tunnel = [link._listener, *ears(link)]
        for ear in in_tunnel:
            deafen(ear)
        wait_until(lambda: bool(command.of("waiting")))
        for ear in in_tunnel:
            if ear.fileno() >= 0:
                undeafen(ear)
        code, _ = command.finish()
    assert code == 0
    waits = command.of("waiting")
    assert [event["seconds"] for event in waits] == [None], "".join([str(waits), *command.complaints])
    assert "nothing answers" in str(waits[0]["reason"])
    assert arrived_whole(service, recording)


@pytest.mark.long
def test_a_tunnel_after_which_the_old_connections_are_forgotten(
    service: Service, link: FaultProxy, recording: Path, tmp_path: Path
) -> None:
    """The first knock that gets through ends it; what was open before is cut, and costs only what was in flight."""
    with uploading(recording, tmp_path, link) as command:
        wait_until(lambda: link.bytes_up > SOME_BYTES)
        for ear in [link._listener, *ears(link)]:
            deafen(ear)
        wait_until(lambda: bool(command.of("waiting")))
        undeafen(link._listener)
        code, _ = command.finish()
    assert code == 0
    assert len([event for event in command.of("waiting") if event["seconds"] is None]) == 1
    assert arrived_whole(service, recording)


# -- one exchange ------------------------------------------------------------------------------


class Zeros:
    """A payload."""

    async def fill(self, buffer: memoryview, offset: int) -> None:
        """Zeros, wherever they are from."""
        del offset
        buffer[:] = bytes(len(buffer))


def asking(request: Request) -> Conversation[Response]:
    """The shortest conversation: one question, one answer."""
    return (yield request)


async def exchange_with(serve: Callable[[SocketStream], Awaitable[None]], request: Request) -> Response | ExchangeFault:
    """One exchange with a server that does `serve` to the first connection and nothing to others; how it ended."""
    connections: list[SocketStream] = []

    async def only_the_first(stream: SocketStream) -> None:
        connections.append(stream)
        async with stream:
            if connections == [stream]:
                await serve(stream)

    exchanger = Exchanger(SystemClock(), user_agent="speechstream/test")
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    ended: list[Response | ExchangeFault] = []
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, only_the_first)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
        try:
            with anyio.fail_after(PATIENCE_S):
                ended.append(await exchanger.converse(asking(replace(request, url=url)), Zeros()))
        except ExchangeFault as fault:
            ended.append(fault)
        tasks.cancel_scope.cancel()
    await exchanger.aclose()
    return ended[0]


async def take(stream: SocketStream, body_bytes: int) -> None:
    """Read one whole request."""
    received = BufferedByteReceiveStream(stream)
    await received.receive_until(b"\r\n\r\n", 65_536)
    await received.receive_exactly(body_bytes)


@pytest.mark.long
@pytest.mark.anyio
async def test_a_server_that_takes_its_time() -> None:
    """Twice as long as a silent connection is given: its kernel answers the probes, so it is waited for."""

    async def serve(stream: SocketStream) -> None:
        await take(stream, 1000)
        await anyio.sleep(5.0)
        await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    ended = await exchange_with(serve, Request("PATCH", "", body=Body(span=Span(0, 1000))))
    assert isinstance(ended, Response)
    assert ended.status == 204


@pytest.mark.anyio
async def test_a_server_that_is_gone_while_it_is_waited_for() -> None:
    """The request arrived whole, and then the path died: noticed by the probes, told as what it is."""

    async def serve(stream: SocketStream) -> None:
        await take(stream, 1000)
        deafen(stream.extra(SocketAttribute.raw_socket))
        await anyio.sleep_forever()

    ended = await exchange_with(serve, Request("PATCH", "", body=Body(span=Span(0, 1000))))
    assert isinstance(ended, Severed)
    assert ended.sent_all


@pytest.mark.anyio
async def test_a_server_that_is_gone_in_mid_body() -> None:
    """Bytes wait in our kernel for ever; the cut says that not all have left."""

    async def serve(stream: SocketStream) -> None:
        deafen(stream.extra(SocketAttribute.raw_socket))
        await anyio.sleep_forever()

    ended = await exchange_with(serve, Request("PATCH", "", body=Body(span=Span(0, 64 << 20))))
    assert isinstance(ended, Severed)
    assert not ended.sent_all

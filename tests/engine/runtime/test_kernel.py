from __future__ import annotations

import socket
import struct
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.core.watchdog import Phase
from engine.runtime import kernel
from engine.runtime.kernel import TcpInfo
from tests.faults.deaf import deafen, only_linux, undeafen

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket on loopback."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        yield listening


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: ours and the peer's."""
    with socket.create_connection(listener.getsockname()) as ours, closing(listener.accept()[0]) as peer:
        yield ours, peer


async def until(condition: object, *, tries: int = 2000) -> None:
    """Let the kernel work until something holds."""
    assert callable(condition)
    for _ in range(tries):
        if condition():
            return
        await anyio.sleep(0.005)
    pytest.fail("it never came to hold")


@only_linux
@pytest.mark.anyio
async def test_what_the_peers_kernel_has(pair: tuple[socket.socket, socket.socket]) -> None:
    """Acknowledged is what arrived there, whether or not its program has read it."""
    ours, _ = pair
    kernel.prepare(ours)
    before = kernel.sample(ours)
    assert (before.phase, before.blind) == (Phase.PAUSED, False)
    ours.sendall(bytes(10_000))
    await until(lambda: kernel.sample(ours).acked_bytes == before.acked_bytes + 10_000)
    assert kernel.sample(ours, all_written=True).phase is Phase.WAITING
    heard_ago_s = kernel.sample(ours).heard_ago_s
    assert heard_ago_s is not None


@only_linux
@pytest.mark.anyio
async def test_a_peer_that_hears_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """What it was sent stays unacknowledged; when it hears again, the kernel's own retransmission brings it."""
    ours, peer = pair
    kernel.prepare(ours)
    deafen(peer)
    before = kernel.sample(ours)
    ours.sendall(bytes(10_000))
    await anyio.sleep(0.05)
    silent = kernel.sample(ours, all_written=True)
    assert (silent.phase, silent.acked_bytes) == (Phase.DRAINING, before.acked_bytes)
    assert silent.retry_in_s is not None
    undeafen(peer)
    await until(lambda: kernel.sample(ours).acked_bytes == before.acked_bytes + 10_000)


@only_linux
@pytest.mark.anyio
async def test_a_peer_that_reads_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its kernel takes what it has room for and says so: the rest waits here, and the connection lives."""
    ours, _ = pair
    ours.setblocking(False)  # noqa: FBT003 - the call's own form
    with suppress(BlockingIOError):
        while ours.send(bytes(1 << 20)):
            continue
    await until(lambda: kernel.sample(ours).phase is Phase.READ_LATE)


@only_linux
@pytest.mark.anyio
async def test_what_has_left_this_machine(pair: tuple[socket.socket, socket.socket]) -> None:
    """Not what stands in the socket's queue because the peer has no room, and nothing twice that went twice."""
    ours, peer = pair
    deafen(peer)
    ours.sendall(bytes(1000))
    await anyio.sleep(1.0)  # several retransmissions
    assert kernel.left_bytes(ours) == 1000
    undeafen(peer)
    ours.setblocking(False)  # noqa: FBT003 - the call's own form
    taken_bytes = 1000
    with suppress(BlockingIOError):
        while sent := ours.send(bytes(1 << 20)):
            taken_bytes += sent
    await until(lambda: kernel.sample(ours).phase is Phase.READ_LATE)
    left_bytes = kernel.left_bytes(ours)
    assert left_bytes is not None
    assert left_bytes == kernel.sample(ours).acked_bytes - 1  # it counts the SYN too
    assert left_bytes < taken_bytes
    assert kernel.left_bytes(None) is None
    ours.close()
    assert kernel.left_bytes(ours) is None


@only_linux
def test_how_a_connection_is_prepared(pair: tuple[socket.socket, socket.socket]) -> None:
    """Probed every second while idle; the kernel's own verdict is left to the last."""
    ours, _ = pair
    kernel.prepare(ours)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 1
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3_600_000
    for answer_s in (0.0, 0.2, 30.0, 10_000.0):
        kernel.keep_trying_often(ours, answer_s)  # a kernel that cannot is no error


@only_linux
def test_little_waits_unsent_for_a_slow_peer(pair: tuple[socket.socket, socket.socket]) -> None:
    """Unless less was asked for already, as courtesy does; a closed connection is nobody's concern."""
    plain, polite = pair
    kernel.smooth(polite, 1e6)
    for each in pair:
        kernel.keep_little_unsent(each)
    unsent = [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) for each in pair]
    assert unsent == [128 << 10, 16 << 10]
    plain.close()
    kernel.keep_little_unsent(plain)


def test_a_discarded_connection_ends_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its peer sees a reset: nothing that was still to be sent comes after."""
    ours, peer = pair
    kernel.discard(ours)
    ours.close()
    with pytest.raises(ConnectionResetError):
        peer.recv(1)
    kernel.discard(ours)


def test_a_closed_connection_is_none(pair: tuple[socket.socket, socket.socket]) -> None:
    """There is nothing to be known of it."""
    ours, _ = pair
    assert kernel.ends(ours) == (ours.getsockname(), ours.getpeername())
    ours.close()
    assert kernel.ends(ours) is None
    assert kernel.tcp_info(ours) is None
    assert kernel.sample(ours).phase is kernel.sample(None).phase is Phase.CONNECTING


def test_where_the_kernel_does_not_say(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what the socket has taken is all there is to see."""
    monkeypatch.setattr(sys, "platform", "other")
    seen = kernel.sample(pair[0], taken_bytes=65_536)
    assert (seen.blind, seen.acked_bytes, seen.heard_ago_s, seen.phase) == (True, 65_536, None, Phase.SENDING)


def test_the_fields_are_where_linux_puts_them() -> None:
    """By the offsets of struct tcp_info; an older kernel's shorter answer is no answer."""
    raw = bytearray(160)
    raw[3] = 2
    for offset, value in ((8, 300_000), (24, 7), (44, 120), (56, 450), (68, 80_000), (72, 5_000), (144, 65_000)):
        struct.pack_into("=I", raw, offset, value)
    struct.pack_into("=Q", raw, 120, 1 << 40)
    assert TcpInfo.parse(bytes(raw)) == TcpInfo(2, 0.3, 7, 0.12, 0.45, 0.08, 0.005, 1 << 40, 65_000)
    assert TcpInfo.parse(bytes(raw[:147])) is None
    longer = bytes(raw).ljust(200, b"\0") + struct.pack("=QQ", 5000, 1448)
    told = TcpInfo.parse(longer)
    assert told is not None
    assert told.left_bytes == 3552


@pytest.mark.anyio
async def test_a_knock_that_is_answered(listener: socket.socket) -> None:
    """A connection is an answer."""
    round_trip_s = await kernel.knock(listener.getsockname())
    assert round_trip_s is not None
    assert round_trip_s >= 0.0


@pytest.mark.anyio
async def test_a_refusal_is_an_answer_too(listener: socket.socket) -> None:
    """It has made the way there and back."""
    address = listener.getsockname()
    listener.close()
    assert await kernel.knock(address) is not None


@only_linux
@pytest.mark.anyio
async def test_a_knock_that_nobody_hears(listener: socket.socket) -> None:
    """It goes on for as long as it is let."""
    deafen(listener)
    with anyio.move_on_after(0.2) as scope:
        await kernel.knock(listener.getsockname())
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_a_knock_where_no_way_leads() -> None:
    """Not a route, not an answer."""
    assert await kernel.knock(("255.255.255.255", 9)) is None


def test_the_address_this_machine_sends_from() -> None:
    """By the routing table; no packet leaves."""
    assert kernel.local_address((LOOPBACK, 9)) == LOOPBACK
    assert kernel.local_address(("255.255.255.255", 9)) is None


def test_sleep_is_counted_by_one_clock_only() -> None:
    """While nobody sleeps, the two go side by side."""
    assert abs(kernel.slept_s() - kernel.slept_s()) < 0.1


def congestion_control(connection: socket.socket) -> str:
    """What the kernel says that the connection uses."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()


@only_linux
def test_congestion_control_is_as_asked() -> None:
    """By name; the system's own when it is off, and when the kernel has no such thing."""
    with socket.socket() as connection:
        own = congestion_control(connection)
        for name in (kernel.OFF, "nobody-knows"):
            kernel.choose_congestion_control(connection, name)
            assert congestion_control(connection) == own
        kernel.choose_congestion_control(connection, "reno")
        assert congestion_control(connection) == "reno"


@only_linux
def test_what_fills_a_link_is_what_is_used() -> None:
    """The control of lanes is told of BBR exactly where connections will use it."""
    assert not kernel.fills(kernel.OFF)
    assert not kernel.fills("reno")
    with socket.socket() as connection:
        kernel.choose_congestion_control(connection, kernel.AUTO)
        assert kernel.fills(kernel.AUTO) is (congestion_control(connection) == "bbr")


@only_linux
def test_the_least_round_trip_is_told(listener: socket.socket) -> None:
    """It is what the queue of a link is measured from."""
    with socket.create_connection(listener.getsockname()) as connection:
        sample = kernel.sample(connection)
    assert 0 < sample.base_rtt_s <= sample.rtt_s < 1

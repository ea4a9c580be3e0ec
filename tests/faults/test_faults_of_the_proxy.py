"""The faults of one direction, of time, and of what is sent twice; `test_proxy` has the others."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.plan import Fault, Plan

if TYPE_CHECKING:
    from tests.faults.echo import EchoServer
    from tests.faults.proxy import FaultProxy

PATIENCE_S = 20.0
SILENCE_S = 0.2


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def heard(client: socket.socket, size: int) -> bytes:
    """The next bytes that come back, or what came of them until the end."""
    received = b""
    while len(received) < size and (chunk := client.recv(size - len(received))):
        received += chunk
    return received


def is_silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE_S)
    try:
        return client.recv(1) != b""  # never: something came
    except TimeoutError:
        return True
    finally:
        client.settimeout(PATIENCE_S)


def test_a_connection_half_open_takes_a_request_and_shows_no_answer(echo: EchoServer, proxy: FaultProxy) -> None:
    """With the way down dead the server gets everything and the client nothing, until it is restored."""
    proxy.plan = Plan({1: Fault(black_hole_after_bytes=0, black_hole_way="down", armed_by="PATCH")})

    with connect(proxy) as client:
        client.sendall(b"HEAD")
        assert heard(client, 4) == b"HEAD"
        client.sendall(b"PATCH and its body")
        assert is_silent(client)
        assert bytes(echo.heard[0].content) == b"HEADPATCH and its body"

        proxy.restore_all()
        assert heard(client, 18) == b"PATCH and its body"


def test_a_connection_half_open_the_other_way_hears_without_being_heard(echo: EchoServer, proxy: FaultProxy) -> None:
    """With the way up dead what was under way down still arrives, and nothing more reaches the server."""
    proxy.plan = Plan({1: Fault(black_hole_after_bytes=3, black_hole_way="up")})

    with connect(proxy) as client:
        client.sendall(b"abcdef")
        assert heard(client, 3) == b"abc"
        assert is_silent(client)

    assert bytes(echo.heard[0].content) == b"abc"


def test_a_black_hole_may_end_by_itself_and_be_followed_by_a_cut(echo: EchoServer, proxy: FaultProxy) -> None:
    """Faults of one connection add up: a silence of some time, nothing lost in it, and a cut further on."""
    fault = Fault(black_hole_after_bytes=2, black_hole_for_s=2 * SILENCE_S, cut_up_after_bytes=8)
    proxy.plan = Plan({1: fault})

    with connect(proxy) as client:
        client.sendall(b"abcdefghij")
        assert is_silent(client)
        assert bytes(echo.heard[0].content) == b"ab"
        assert echo.ended(1).content == b"abcdefgh"

    assert proxy.connections[0].struck


def test_a_connection_is_cut_at_its_age(echo: EchoServer, proxy: FaultProxy) -> None:
    """Whatever it does, a connection older than planned is reset; the next one, let off by `at_most`, is not."""
    proxy.plan = Plan(otherwise=Fault(cut_after_s=0.05), at_most=1)

    with connect(proxy) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as client:
        assert is_silent(client)
        client.sendall(b"alive")
        assert heard(client, 5) == b"alive"


def test_a_storm_draws_the_age_of_each_connection() -> None:
    """The seed decides when each connection of a storm breaks, the first ones alike whatever came of them."""

    def ages(seed: int) -> list[float | None]:
        faults = Plan(otherwise=Fault(cut_within_s=0.1), seed=seed).faults()
        return [next(faults).cut_after_s for _ in range(50)]

    assert ages(7) == ages(7)
    assert ages(7) != ages(8)
    assert all(age is not None and 0 <= age <= 0.1 for age in ages(7))


def test_a_link_that_stutters_stands_and_goes_on(proxy: FaultProxy) -> None:
    """Between its bursts nothing moves; nothing is lost."""
    proxy.plan = Plan(otherwise=Fault(stutter_s=(0.05, 0.15)))
    message = bytes(500_000)

    with connect(proxy) as client:
        time.sleep(0.1)  # into the first pause
        began_at = time.monotonic()
        client.sendall(b"x")
        assert heard(client, 1) == b"x"
        assert time.monotonic() - began_at >= 0.05
        client.sendall(message[:100_000])
        assert heard(client, 100_000) == message[:100_000]


def test_what_is_replayed_reaches_the_server_twice(echo: EchoServer, proxy: FaultProxy) -> None:
    """The same bytes come on a second connection; the client sees one answer, to the first."""
    proxy.plan = Plan({1: Fault(replay_after_s=0.01)})

    with connect(proxy) as client:
        client.sendall(b"POST me")
        client.shutdown(socket.SHUT_WR)
        assert heard(client, 100) == b"POST me"

    assert bytes(echo.ended(1).content) == bytes(echo.ended(2).content) == b"POST me"
    assert proxy.count == 1  # of clients


def test_a_replay_ends_where_the_client_was_cut(echo: EchoServer, proxy: FaultProxy) -> None:
    """Only what had got through is repeated, though the connection it came on is gone by then."""
    proxy.plan = Plan({1: Fault(replay_after_s=0.05, cut_up_after_bytes=4)})

    with connect(proxy) as client:
        client.sendall(b"POST me")
        with pytest.raises(ConnectionResetError):
            client.recv(1)

    assert echo.ended(1).content == b"POST"
    assert echo.ended(2).content == b"POST"


def test_leaving_ends_a_replay(echo: EchoServer, proxy: FaultProxy) -> None:
    """A copy that is not yet due is dropped with the proxy, which does not wait for it."""
    proxy.plan = Plan({1: Fault(replay_after_s=3600.0)})

    with connect(proxy) as client:
        client.sendall(b"later")
        assert heard(client, 5) == b"later"

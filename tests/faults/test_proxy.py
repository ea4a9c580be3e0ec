from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from tests.faults.echo import EchoServer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
MESSAGE = bytes(range(256)) * 2000


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def receive(client: socket.socket, at_most: int | None = None) -> tuple[bytes, str]:
    """What comes back, up to `at_most` bytes, and how it ended: "eof", "reset" or "open"."""
    received = b""
    while at_most is None or len(received) < at_most:
        try:
            chunk = client.recv(65536)
        except ConnectionResetError:
            return received, "reset"
        if not chunk:
            return received, "eof"
        received += chunk
    return received, "open"


def exchange(proxy: FaultProxy, message: bytes) -> tuple[bytes, str]:
    """Send a message of a size that the buffers hold, end the stream, and return what comes back."""
    with connect(proxy) as client:
        client.sendall(message)
        with contextlib.suppress(OSError):  # a cut may have been quicker
            client.shutdown(socket.SHUT_WR)
        return receive(client)


def test_without_a_fault_everything_passes(echo: EchoServer, proxy: FaultProxy) -> None:
    """Bytes and the ends of both streams go through unchanged, and are counted."""
    assert exchange(proxy, MESSAGE[:100_000]) == (MESSAGE[:100_000], "eof")
    assert echo.ended(1).ending == "eof"
    assert (proxy.count, proxy.bytes_up) == (1, 100_000)
    assert proxy.connections[0].down.forwarded_bytes == 100_000


@pytest.mark.parametrize("cut_after", [1, 16_384, 40_000])
def test_a_cut_comes_after_exactly_so_many_bytes(echo: EchoServer, proxy: FaultProxy, cut_after: int) -> None:
    """The server gets the stated bytes of the first connection and no more; the second one passes."""
    proxy.plan = Plan({1: Fault(cut_up_after_bytes=cut_after)})

    with connect(proxy) as client:
        client.sendall(MESSAGE[:50_000])
        _, ending = receive(client)

    assert ending == "reset"
    assert echo.ended(1).content == MESSAGE[:cut_after]
    assert exchange(proxy, b"again") == (b"again", "eof")
    assert [connection.up.forwarded_bytes for connection in proxy.connections] == [cut_after, 5]
    assert proxy.bytes_up == cut_after + 5


def test_a_polite_cut_ends_both_streams(echo: EchoServer, proxy: FaultProxy) -> None:
    """A cut by FIN looks like a peer that closed: both sides read an end, none an error."""
    proxy.plan = Plan({1: Fault(cut_up_after_bytes=3, cut_by="fin")})

    with connect(proxy) as client:
        client.sendall(b"abcdef")
        _, ending = receive(client)

    assert ending == "eof"
    assert echo.ended(1).content == b"abc"
    assert echo.ended(1).ending == "eof"


def test_a_lost_answer_leaves_the_request_done(echo: EchoServer, proxy: FaultProxy) -> None:
    """With `cut_down_after_bytes=0` the server has the whole request and the client has nothing."""
    proxy.plan = Plan({1: Fault(cut_down_after_bytes=0)})

    assert exchange(proxy, b"do it") == (b"", "reset")
    assert echo.ended(1).content == b"do it"
    assert exchange(proxy, b"do it") == (b"do it", "eof")


def test_an_answer_is_truncated_after_exactly_so_many_bytes(echo: EchoServer, proxy: FaultProxy) -> None:
    """The client gets the stated bytes of the answer, then an end that looks clean."""
    proxy.plan = Plan({1: Fault(cut_down_after_bytes=7, cut_by="fin")})

    assert exchange(proxy, b"0123456789") == (b"0123456", "eof")
    assert echo.ended(1).content == b"0123456789"


def test_a_black_hole_tells_nobody(echo: EchoServer, proxy: FaultProxy) -> None:
    """After the stated bytes nothing moves: the client hears nothing, the server not even its departure."""
    proxy.plan = Plan({1: Fault(black_hole_after_bytes=4)})

    with connect(proxy) as client:
        client.sendall(b"into the hole")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            receive(client, at_most=5)

    assert exchange(proxy, b"another way") == (b"another way", "eof")
    assert (bytes(echo.heard[0].content), echo.heard[0].ending) == (b"into", "")


def test_open_connections_fall_into_a_black_hole_and_come_back(proxy: FaultProxy) -> None:
    """An outage stops open connections, not new ones; when it is over, nothing has been lost."""
    with connect(proxy) as client:
        client.sendall(b"before ")
        assert receive(client, at_most=7) == (b"before ", "open")
        proxy.black_hole_all()
        client.sendall(b"during ")
        assert exchange(proxy, b"fresh") == (b"fresh", "eof")
        assert proxy.connections[0].up.forwarded_bytes == 7

        proxy.restore_all()
        client.sendall(b"after")
        client.shutdown(socket.SHUT_WR)

        assert receive(client) == (b"during after", "eof")


def test_armed_by_lets_earlier_requests_pass(echo: EchoServer, proxy: FaultProxy) -> None:
    """The limits count from the arming text on, even if that text arrives in two pieces."""
    proxy.plan = Plan({1: Fault(cut_up_after_bytes=9, armed_by="PATCH ")})

    with connect(proxy) as client:
        client.sendall(b"HEAD /a; PA")
        assert receive(client, at_most=11) == (b"HEAD /a; PA", "open")
        client.sendall(b"TCH /abcdefgh")
        _, ending = receive(client)

    assert ending == "reset"
    assert echo.ended(1).content == b"HEAD /a; PATCH /abcd"


def test_armed_lost_answer_spares_the_first_answer(echo: EchoServer, proxy: FaultProxy) -> None:
    """On one kept-alive connection only the answer to the arming request is lost."""
    proxy.plan = Plan(otherwise=Fault(cut_down_after_bytes=0, armed_by="POST"), at_most=1)

    with connect(proxy) as client:
        client.sendall(b"HEAD")
        assert receive(client, at_most=4) == (b"HEAD", "open")
        client.sendall(b"POST")
        assert receive(client) == (b"", "reset")

    assert echo.ended(1).content == b"HEADPOST"
    assert exchange(proxy, b"POST") == (b"POST", "eof")


def test_at_most_counts_over_all_connections(proxy: FaultProxy) -> None:
    """A plan's breaks are spent once, whichever connection meets them; a new plan has its own."""
    proxy.plan = Plan(otherwise=Fault(cut_up_after_bytes=2), at_most=2)
    assert [exchange(proxy, b"abcd")[1] for _ in range(4)] == ["reset", "reset", "eof", "eof"]

    proxy.plan = Plan(otherwise=Fault(cut_up_after_bytes=2), at_most=1)
    assert [exchange(proxy, b"abcd")[1] for _ in range(2)] == ["reset", "eof"]


def test_ordinals_count_from_the_plan_on(proxy: FaultProxy) -> None:
    """Connection 1 of a plan is the first one after it was set."""
    assert exchange(proxy, b"a") == (b"a", "eof")
    proxy.plan = Plan({2: Fault(cut_down_after_bytes=0)})

    assert [exchange(proxy, b"a")[1] for _ in range(3)] == ["eof", "reset", "eof"]
    assert proxy.count == 4


def test_a_delay_holds_both_ways(proxy: FaultProxy) -> None:
    """Question and answer are each late by the delay, and nothing is lost for it."""
    proxy.plan = Plan(otherwise=Fault(delay_s=0.1))
    started_at = time.monotonic()

    assert exchange(proxy, b"ping") == (b"ping", "eof")
    assert time.monotonic() - started_at >= 0.2


def test_a_rate_holds(proxy: FaultProxy) -> None:
    """No more than the capped rate passes, and all of it does."""
    proxy.plan = Plan(otherwise=Fault(rate_bytes_per_s=100_000))
    started_at = time.monotonic()

    assert exchange(proxy, MESSAGE[:30_000]) == (MESSAGE[:30_000], "eof")
    assert time.monotonic() - started_at >= 0.3


def test_connections_share_a_common_rate(proxy: FaultProxy) -> None:
    """Two of them take as long as one that sends what both do."""
    proxy.plan = Plan(common_rate_bytes_per_s=200_000)
    started_at = time.monotonic()

    with connect(proxy) as one, connect(proxy) as other:
        for client in (one, other):
            client.sendall(MESSAGE[:30_000])
        for client in (one, other):
            assert receive(client, at_most=30_000) == (MESSAGE[:30_000], "open")

    assert time.monotonic() - started_at >= 0.25


def test_cut_all_ends_what_is_open(echo: EchoServer, proxy: FaultProxy) -> None:
    """Every open connection is reset at once; the next one passes."""
    with connect(proxy) as one, connect(proxy) as other:
        for client in (one, other):
            client.sendall(b"x")
            assert receive(client, at_most=1) == (b"x", "open")
        proxy.cut_all()

        assert receive(one) == receive(other) == (b"", "reset")
    assert {echo.ended(1).ending, echo.ended(2).ending} == {"reset"}
    assert exchange(proxy, b"next") == (b"next", "eof")


def test_a_reset_of_the_client_reaches_the_server(echo: EchoServer, proxy: FaultProxy) -> None:
    """A client that dies in mid-stream is a reset to the server, not a clean end."""
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, at_most=1) == (b"x", "open")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert echo.ended(1).ending == "reset"


def test_a_dead_server_is_a_reset_until_it_moves(echo: EchoServer, proxy: FaultProxy) -> None:
    """While nobody listens at the target a connection is reset; a restarted server is found at its new port."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead_port = unused.getsockname()[1]
    proxy.target = ("127.0.0.1", dead_port)
    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)

    proxy.target = ("127.0.0.1", echo.port)
    assert exchange(proxy, b"back") == (b"back", "eof")


def test_leaving_ends_what_is_open(echo: EchoServer) -> None:
    """Leaving the `with` block resets open connections, black-holed ones too, and stops listening."""
    with FaultProxy("127.0.0.1", echo.port) as proxy:
        client = connect(proxy)
        client.sendall(b"x")
        assert receive(client, at_most=1) == (b"x", "open")
        proxy.black_hole_all()

    with client:
        assert receive(client) == (b"", "reset")
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)


def test_the_seed_decides_what_is_drawn() -> None:
    """The same seed draws the same cuts, another one others, all within their bounds."""

    def cuts(seed: int) -> list[int | None]:
        faults = Plan(otherwise=Fault(cut_up_between_bytes=(1_000, 9_000)), seed=seed).faults()
        return [next(faults).cut_up_after_bytes for _ in range(50)]

    assert cuts(7) == cuts(7)
    assert cuts(7) != cuts(8)
    assert all(cut is not None and 1_000 <= cut <= 9_000 for cut in cuts(7))


def test_a_plan_is_read_from_json() -> None:
    """Every field has its name in JSON, and an unknown one is refused rather than ignored."""
    text = '{"seed": 3, "at_most": 2, "connections": {"2": {"delay_s": 0.5}}, "otherwise": {"cut_by": "fin"}}'

    assert Plan.from_json(text) == Plan({2: Fault(delay_s=0.5)}, Fault(cut_by="fin"), at_most=2, seed=3)
    with pytest.raises(TypeError, match="cut_upp"):
        Plan.from_json('{"otherwise": {"cut_upp": 1}}')


def test_the_program_serves_until_it_is_told_to_stop(echo: EchoServer) -> None:
    """As a program it says where it listens, follows its plan, and ends with the counts."""
    plan = '{"connections": {"1": {"cut_up_after_bytes": 2}}}'
    command = [sys.executable, "-m", "tests.faults.proxy", "--target", f"127.0.0.1:{echo.port}", "--plan", plan]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            host, _, port = json.loads(program.stdout.readline())["listening"].rpartition(":")
            endings = []
            for _ in range(2):
                with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as client:
                    client.sendall(b"abcd")
                    endings.append(receive(client, at_most=4)[1])
        finally:
            program.send_signal(signal.SIGTERM)
        counts = json.loads(program.stdout.readline())

    assert endings == ["reset", "open"]
    assert counts == {"count": 2, "bytes_up": [2, 4]}
    assert program.returncode == 0

"""A polite process: what the kernel tells, in made-up time, and what the sockets are told."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from engine.core.pace import Rules
from engine.core.polite import FIRST_BYTES_S, LEAST_BYTES_S
from engine.runtime import kernel
from engine.runtime.courtesy import Courtesy
from engine.runtime.kernel import TcpInfo
from engine.runtime.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.world import FakeClock

pytestmark = pytest.mark.anyio


@dataclass
class Kernel:
    """A kernel with one connection, or one that tells nothing."""

    blind: bool = False
    rtt_s: float = 0.04
    acked_bytes: int = 0
    closed: bool = False
    told: list[float] = field(default_factory=list)

    def tcp_info(self, _: object) -> TcpInfo | None:
        """What is asked of it."""
        if self.blind or self.closed:
            return None
        return TcpInfo(0, 0.2, 0, 0.0, 0.0, self.rtt_s, 0.001, self.acked_bytes, 0)

    def ends(self, _: object) -> object:
        """One peer."""
        return None if self.closed else (("10.0.0.1", 1), ("10.0.0.2", 2))

    def smooth(self, _: object, rate_bytes_s: float) -> None:
        """What it is told."""
        self.told.append(rate_bytes_s)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The kernel that the program meets."""
    made = Kernel()
    for name in ("tcp_info", "ends", "smooth"):
        monkeypatch.setattr(kernel, name, getattr(made, name))
    return made


async def sent(pace: Pace, clock: FakeClock, system: Kernel, seconds: float, acked: float = 1.0) -> int:
    """How much one lane gets through in that time, so much of it acknowledged at once and the rest never."""
    allowance, total, until_s = pace.of("a"), 0, clock.now_s + seconds
    while clock.now_s < until_s:
        size_bytes = await allowance.granted(1 << 20)
        total += size_bytes
        system.acked_bytes += int(size_bytes * acked)
        if pace.courtesy is not None and pace.courtesy.rate_bytes_s is None:
            clock.now_s += size_bytes / 1e6  # nothing holds it back but a line of 1 MB/s
    return total


async def test_it_takes_an_idle_line_and_gives_it_to_others(clock: FakeClock, system: Kernel) -> None:
    """While the RTT stays low it sends ever more, and when it rises next to nothing; sockets are told of both."""
    pace = Pace(clock, courtesy=Courtesy(clock, pytest.fail))
    unused: Any = None
    pace.follow(unused)
    assert (pace.of("a").polite, pace.courteous_bytes_s) == (True, FIRST_BYTES_S)
    assert await sent(pace, clock, system, 5.0) > 10 * FIRST_BYTES_S
    fast = system.told[-1]
    assert fast > 4 * FIRST_BYTES_S
    system.rtt_s = 0.3
    await sent(pace, clock, system, 15.0)
    assert pace.courteous_bytes_s == LEAST_BYTES_S
    assert await sent(pace, clock, system, 10.0) == pytest.approx(10 * LEAST_BYTES_S, rel=0.03)
    assert system.told[-1] < fast / 10
    assert pace.of("a").lanes(8) == 1


async def test_it_says_whether_it_is_what_holds_the_lanes(clock: FakeClock, system: Kernel) -> None:
    """It is while what may go arrives, on the way up too; not where the lanes lose too much to use it."""
    pace = Pace(clock, courtesy=Courtesy(clock, pytest.fail))
    unused: Any = None
    pace.follow(unused)
    held = []
    for _ in range(50):
        await sent(pace, clock, system, 0.1)
        held.append(pace.holds())
    assert held[5:] == [True] * 45
    await sent(pace, clock, system, 2.0, acked=0.5)
    assert not pace.holds()


async def test_politeness_and_a_limit_hold_together(clock: FakeClock, system: Kernel) -> None:
    """The lower of the two, whichever it is."""
    pace = Pace(clock, Rules(usual=20_000), courtesy=Courtesy(clock, pytest.fail))
    unused: Any = None
    pace.follow(unused)
    assert await sent(pace, clock, system, 10.0) == pytest.approx(200_000, rel=0.03)
    assert pace.of("a").share_bytes_s == 20_000
    system.rtt_s = 0.3
    await sent(pace, clock, system, 10.0)
    assert await sent(pace, clock, system, 10.0) == pytest.approx(10 * LEAST_BYTES_S, rel=0.05)


async def test_where_the_kernel_tells_nothing(clock: FakeClock, system: Kernel) -> None:
    """That is said once, and half of what the line takes is used."""
    system.blind = True
    said: list[str] = []
    pace = Pace(clock, courtesy=Courtesy(clock, said.append))
    unused: Any = None
    pace.follow(unused)
    pace.follow(unused)
    await sent(pace, clock, system, 1.0)
    assert not pace.holds(), "while it is measured, the lanes do as they can"
    assert await sent(pace, clock, system, 1.5) > 900_000
    assert pace.holds()
    assert await sent(pace, clock, system, 10.0) == pytest.approx(5_000_000, rel=0.1)
    assert system.told == []
    assert said == ["this system tells no round-trip times; a polite upload takes half of what the line carries"]


async def test_a_closed_connection_is_forgotten(clock: FakeClock, system: Kernel) -> None:
    """It is not asked again, nor told."""
    pace = Pace(clock, courtesy=Courtesy(clock, pytest.fail))
    unused: Any = None
    pace.follow(unused)
    await sent(pace, clock, system, 1.0)
    system.closed = True
    await sent(pace, clock, system, 1.0)
    system.told.clear()
    system.closed = False
    await sent(pace, clock, system, 5.0)
    assert system.told == []


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            yield near, far


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux paces a socket")
def test_a_socket_is_paced_and_holds_little(pair: tuple[socket.socket, socket.socket]) -> None:
    """The kernel has taken both settings; a closed socket is no error."""
    near, _ = pair
    kernel.smooth(near, 123_456)
    assert near.getsockopt(socket.SOL_SOCKET, 47) == 123_456
    assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 16 << 10
    near.close()
    kernel.smooth(near, 123_456)

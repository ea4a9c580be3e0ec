from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from engine.core.watchdog import Guard, Patience, Sample, Trial
from engine.events import Waiting
from engine.faults import Interrupted, Severed
from engine.runtime.link import Link
from engine.runtime.watchdog import SLEPT_S, Door, Errand, Senses, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.world import Events, FakeClock

pytestmark = pytest.mark.anyio
DOOR, OTHER_DOOR = Door("192.0.2.1", 443), Door("192.0.2.2", 443)
HERE, THERE = ("198.51.100.7", 50_000), ("192.0.2.1", 443)
SENDING = Sample(acked_bytes=1, unacked=True, unsent=True, answer_s=0.1)


@dataclass
class World:
    """What the watchdog senses: who answers a knock, where this machine is, and how long it slept."""

    clock: FakeClock
    answers_from_s: float = 0.0
    slept_s: float = 0.0
    source: str | None = HERE[0]
    knocked: list[tuple[float, tuple[str, int]]] = field(default_factory=list)

    async def knock(self, address: tuple[str, int]) -> float | None:
        """A round trip of 50 ms once anybody answers, else nothing for ever."""
        self.knocked.append((self.clock.now_s, address))
        if self.clock.now_s < self.answers_from_s:
            await anyio.sleep_forever()
        return 0.05

    def watchdog(self, link: Link | None = None) -> Watchdog:
        """A watchdog in this world."""
        senses = Senses(lambda: self.slept_s, lambda _: self.source, self.knock)
        return Watchdog(self.clock, link or Link(self.clock), Patience(), senses)


@pytest.fixture
def world(clock: FakeClock) -> World:
    """All is well."""
    return World(clock)


class Connection:
    """A connection of which the peer was heard last at `heard_until_s`."""

    def __init__(self, clock: FakeClock, door: Door = DOOR, heard_until_s: float = 0.0, source: str = HERE[0]) -> None:
        self._clock = clock
        self._source = source
        self.heard_until_s = heard_until_s
        self.discarded = 0
        self.sample: Callable[[], Sample] = lambda: replace(
            SENDING, heard_ago_s=max(0.0, clock.now_s - self.heard_until_s)
        )
        self.errand = Errand(
            door,
            Guard(clock.now_s, Patience()),
            self._read,
            lambda: ((self._source, 50_000), (door.host, door.port)),
            self._discard,
        )

    def move(self) -> None:
        """From now on its bytes are acknowledged, ten times a second."""
        self.sample = lambda: replace(SENDING, acked_bytes=int(self._clock.now_s * 10), heard_ago_s=0.0)

    def _read(self) -> Sample:
        return self.sample()

    def _discard(self) -> None:
        self.discarded += 1


async def never() -> None:
    """An exchange that has no end of its own."""
    await anyio.sleep_forever()


async def test_a_result_passes(world: World, clock: FakeClock) -> None:
    """As if nobody looked."""

    async def work() -> str:
        return "reply"

    assert await world.watchdog().over(Connection(clock).errand, work) == "reply"


async def test_a_failure_passes_as_it_is(world: World, clock: FakeClock) -> None:
    """Not wrapped into a group of one."""

    async def work() -> None:
        raise Interrupted("the connection broke")

    with pytest.raises(Interrupted, match="broke"):
        await world.watchdog().over(Connection(clock).errand, work)


async def test_a_dead_connection_is_cut(world: World, clock: FakeClock) -> None:
    """Silent for a second while a fresh one gets through: discarded, cancelled, and a fault of its own."""
    old = Connection(clock, heard_until_s=clock.now_s)
    with pytest.raises(Severed, match="a new one gets through"):
        await world.watchdog().over(old.errand, never)
    assert old.discarded == 1
    assert old.errand.strike
    assert [address for _, address in world.knocked] == [THERE]
    assert clock.now_s - 1000.0 == pytest.approx(1.0, abs=0.5)


async def test_a_connection_that_moves_is_left_alone(world: World, clock: FakeClock) -> None:
    """For an hour, whatever its rate; and nobody knocks for it."""
    slow = Connection(clock)
    slow.sample = lambda: replace(SENDING, acked_bytes=1 + int((clock.now_s - 1000.0) / 0.9), heard_ago_s=None)

    async def until_an_hour_has_passed() -> None:
        while clock.now_s < 1000.0 + 3600.0:
            await anyio.lowlevel.checkpoint()

    await world.watchdog().over(slow.errand, until_an_hour_has_passed)
    assert world.knocked == []


async def test_an_outage_is_waited_out(world: World, clock: FakeClock, told: Events) -> None:
    """Nothing answers: told once, knocked again and again, and the old one cut when the first knock gets through."""
    world.answers_from_s = clock.now_s + 60.0
    link = Link(clock)
    old = Connection(clock, heard_until_s=clock.now_s)
    with link.telling("k3f9qz", told.append), pytest.raises(Severed):
        await world.watchdog(link).over(old.errand, never)
    assert [event.seconds for event in told.of(Waiting) if isinstance(event, Waiting)] == [None]
    assert not link.down
    assert not old.errand.strike  # nobody is to blame
    assert 80 <= len(world.knocked) <= 110
    assert 58.0 <= link.offline_s <= 62.0
    assert 1060.0 <= clock.now_s <= 1063.0


async def test_a_connection_that_survived_the_outage_goes_on(world: World, clock: FakeClock) -> None:
    """The peer's kernel answers again with the first retransmission: nothing is cut and nothing is sent again."""
    world.answers_from_s = clock.now_s + 20.0
    link = Link(clock)
    old = Connection(clock, heard_until_s=clock.now_s)

    async def work() -> str:
        while clock.now_s < 1020.0:
            await anyio.lowlevel.checkpoint()
        while clock.now_s < 1030.0:
            old.heard_until_s = clock.now_s
            await anyio.lowlevel.checkpoint()
        return "reply"

    assert await world.watchdog(link).over(old.errand, work) == "reply"
    assert link.offline_s > 15.0


async def test_one_lane_that_is_heard_of_is_an_answer(world: World, clock: FakeClock) -> None:
    """While one connection moves nobody is offline, and its silent neighbour is cut without a knock's answer."""
    world.answers_from_s = float("inf")
    link = Link(clock)
    watchdog, silent = world.watchdog(link), Connection(clock, heard_until_s=clock.now_s)
    moving = Connection(clock)
    moving.move()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.over, moving.errand, never)
        with pytest.raises(Severed):
            await watchdog.over(silent.errand, never)
        tasks.cancel_scope.cancel()
    assert link.offline_s == 0.0
    assert not moving.discarded


async def test_a_server_that_is_away_is_no_outage_while_another_answers(world: World, clock: FakeClock) -> None:
    """Offline means that nothing moves anywhere."""
    world.answers_from_s = float("inf")
    link = Link(clock)
    watchdog, away = world.watchdog(link), Connection(clock, OTHER_DOOR, heard_until_s=clock.now_s)
    moving = Connection(clock)
    moving.move()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.over, moving.errand, never)
        tasks.start_soon(watchdog.over, away.errand, never)
        while clock.now_s < 1030.0:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not link.down
    assert link.offline_s == 0.0
    assert {address[0] for _, address in world.knocked} == {OTHER_DOOR.host}


async def test_one_watches_for_all_and_another_takes_over(world: World, clock: FakeClock) -> None:
    """The end of the exchange that kept watch leaves no other unwatched."""
    watchdog = world.watchdog()
    first, second = Connection(clock), Connection(clock)
    for connection in (first, second):
        connection.move()

    async def briefly() -> None:
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:

        async def cut() -> None:
            with pytest.raises(Severed):
                await watchdog.over(second.errand, never)

        tasks.start_soon(watchdog.over, first.errand, briefly)
        tasks.start_soon(cut)
        while clock.now_s < 1005.0:
            await anyio.lowlevel.checkpoint()
        second.sample = lambda: replace(SENDING, heard_ago_s=clock.now_s - 1000.0)
    assert second.discarded == 1
    assert first.discarded == 0


async def test_after_sleep_no_connection_is_trusted(world: World, clock: FakeClock) -> None:
    """The lid was closed: all are cut at once, idle ones are of an older generation."""
    watchdog, old = world.watchdog(), Connection(clock)
    old.move()
    world.slept_s = SLEPT_S + 0.1
    with pytest.raises(Severed, match="asleep"):
        await watchdog.over(old.errand, never)
    assert watchdog.generation == 1
    watchdog.notice_change()
    assert watchdog.generation == 1


async def test_a_clock_that_is_steered_is_not_sleep(world: World) -> None:
    """Two clocks drift apart by less than two seconds at a time."""
    watchdog = world.watchdog()
    for _ in range(10):
        world.slept_s += SLEPT_S - 0.1
        watchdog.notice_change()
    assert watchdog.generation == 0


async def test_another_address_ends_what_was_sent_from_the_old_one(world: World, clock: FakeClock) -> None:
    """What already goes out from the new address stays; a moment without any route ends nothing."""
    watchdog, old = world.watchdog(), Connection(clock)
    fresh = Connection(clock, source="203.0.113.9")
    for connection in (old, fresh):
        connection.move()

    async def until(moment_s: float) -> None:
        while clock.now_s < moment_s:
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watchdog.over, fresh.errand, never)

        async def move() -> None:
            await until(1010.0)
            world.source = None
            await until(1020.0)
            assert watchdog.generation == 0
            world.source = "203.0.113.9"

        tasks.start_soon(move)
        with pytest.raises(Severed, match="another address"):
            await watchdog.over(old.errand, never)
        assert not fresh.discarded
        tasks.cancel_scope.cancel()
    assert watchdog.generation == 1
    assert clock.now_s <= 1022.0


async def test_without_a_network_whoever_rests_knocks(world: World, clock: FakeClock, told: Events) -> None:
    """No connection could be begun, none is under way: the wait for the link ends with the first answer."""
    world.answers_from_s = clock.now_s + 600.0
    link = Link(clock)
    watchdog = world.watchdog(link)
    with link.telling("k3f9qz", told.append):
        watchdog.no_network(DOOR, "there is no network")
        while link.down:
            await link.rest(1.0)
    assert told == [Waiting("k3f9qz", "there is no network", None)]
    assert clock.now_s >= 1600.0
    assert {address for _, address in world.knocked} == {THERE}
    assert 570.0 / len(world.knocked) >= Trial.LATER_EVERY_S * 0.7

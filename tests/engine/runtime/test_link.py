from __future__ import annotations

import anyio
import pytest

from engine.core.retry import RetryPolicy
from engine.errors import GaveUp
from engine.events import Waiting
from engine.faults import Interrupted, Offline, Severed
from engine.runtime.exchange import Brake
from engine.runtime.link import LONGEST_REST_S, Link
from engine.runtime.persist import Persistence
from tests.engine.world import Events, FakeClock

pytestmark = pytest.mark.anyio


def persisting(brake: Brake, clock: FakeClock, told: Events, budget_s: float = 60.0) -> Persistence:
    return Persistence("k3f9qz", clock, brake, told.append, RetryPolicy(budget_s=budget_s))


async def test_every_rest_ends_when_the_link_is_back(clock: FakeClock) -> None:
    """However many wait, and however long they were to: all go on in the same moment."""

    class StandingClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            self.slept_s.append(seconds)
            await anyio.sleep_forever()

    standing = StandingClock()
    link, rested = Link(standing), list[int]()

    async def rest(number: int) -> None:
        await link.rest(5.0)
        rested.append(number)

    link.went_down(0.0, "nothing answers")
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(rest, number)
        await anyio.wait_all_tasks_blocked()
        assert rested == []
        link.came_up()
    assert sorted(rested) == [0, 1, 2, 3]
    assert standing.slept_s == [LONGEST_REST_S] * 4


async def test_while_it_is_up_a_rest_is_a_sleep(clock: FakeClock) -> None:
    """Nothing else happens in it."""
    link = Link(clock)
    await link.rest(5.0)
    assert clock.slept_s == [5.0]


async def test_a_rest_has_an_end_even_if_nobody_ever_answers_a_knock(clock: FakeClock) -> None:
    """The knocks may be wrong for ever; an attempt is made from time to time."""
    link = Link(clock)
    link.went_down(0.0, "nothing answers")
    await link.rest(0.1)
    assert clock.slept_s == [LONGEST_REST_S]


async def test_whoever_rests_keeps_watch(clock: FakeClock) -> None:
    """With no exchange under way somebody must knock: those who wait for the link do."""
    link, kept = Link(clock), list[str]()

    async def keep() -> None:
        kept.append("watch")

    link.keeper = keep
    link.went_down(0.0, "nothing answers")
    await link.rest(1.0)
    assert kept == ["watch"]


def test_an_outage_is_told_once(clock: FakeClock, told: Events) -> None:
    """To each job, however often it is noticed, and to a job that begins in it; the next outage is news."""
    link, late = Link(clock), Events()
    with link.telling("one", told.append):
        for _ in range(10):
            link.went_down(0.0, "nothing answers")
        with link.telling("other", late.append):
            link.went_down(0.0, "nothing answers")
        assert told == [Waiting("one", "nothing answers", None)]
        assert late == [Waiting("other", "nothing answers", None)]
        link.came_up()
        link.went_down(0.0, "there is no network")
    assert told[1:] == [Waiting("one", "there is no network", None)]
    link.came_up()
    link.went_down(0.0, "again")
    assert len(told) == 2


def test_the_time_offline_adds_up(clock: FakeClock) -> None:
    """From the moment nothing answered, not from the moment it was noticed."""
    link = Link(clock)
    clock.now_s += 10.0
    link.went_down(3.0, "nothing answers")
    clock.now_s += 4.0
    assert link.offline_s == pytest.approx(7.0)
    link.went_down(0.0, "nothing answers")
    link.came_up()
    clock.now_s += 100.0
    link.came_up()
    assert link.offline_s == pytest.approx(7.0)
    link.went_down(0.0, "nothing answers")
    clock.now_s += 2.0
    assert link.offline_s == pytest.approx(9.0)


async def test_an_outage_inside_an_exchange_costs_no_budget(clock: FakeClock, told: Events) -> None:
    """A request that hung for ten hours of tunnel, and was then cut, has cost the seconds the link was there."""
    brake = Brake(clock)
    persistence = persisting(brake, clock, told, budget_s=60.0)
    clock.now_s += 5.0
    brake.link.went_down(0.0, "nothing answers")
    clock.now_s += 36_000.0
    brake.link.came_up()
    await persistence.wait(Severed("dead"), "The upload")
    clock.now_s += 50.0
    await persistence.wait(Interrupted("cut"), "The upload")
    clock.now_s += 6.0
    with pytest.raises(GaveUp):
        await persistence.wait(Interrupted("cut"), "The upload")


async def test_a_cut_of_our_own_is_followed_at_once(clock: FakeClock, told: Events) -> None:
    """There is nothing to wait for and nothing to tell: a new connection was seen to get through."""
    persistence = persisting(Brake(clock), clock, told)
    for _ in range(5):
        await persistence.wait(Severed("dead"), "The upload")
    assert sum(clock.slept_s) == 0.0
    assert told.of(Waiting) == []
    assert persistence.cost.retries == 5


async def test_no_network_is_told_once_by_whoever_finds_out(clock: FakeClock, told: Events) -> None:
    """The lanes of a job that fail one after the other in one outage do not repeat each other."""
    brake = Brake(clock)
    persistence = persisting(brake, clock, told)
    with brake.link.telling("k3f9qz", told.append):
        brake.link.went_down(0.0, "there is no network")
        for lane in (persistence, persistence.beside(), persistence.beside()):
            await lane.wait(Offline("there is no network"), "The upload")
    assert told.of(Waiting) == [Waiting("k3f9qz", "there is no network", None)]

"""Lanes that pass one gate, in made-up time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.core.pace import Rules
from engine.runtime.pace import Pace
from engine.timetable import timetable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.world import FakeClock

pytestmark = pytest.mark.anyio
MB = 1_000_000


class Road:
    """Who sent how much when."""

    def __init__(self, pace: Pace, clock: FakeClock) -> None:
        self._pace = pace
        self._clock = clock
        self._began_s = clock.now_s
        self.by_lane: Counter[str] = Counter()
        self.by_second: Counter[int] = Counter()

    async def lane(self, name: str, job: str, until_s: float, most_bytes: int = MB) -> None:
        """Send for a job as much as may go."""
        allowance = self._pace.of(job)
        while self._clock.now_s < self._began_s + until_s:
            size_bytes = await allowance.granted(most_bytes)
            assert 0 < size_bytes <= most_bytes
            self.by_lane[name] += size_bytes
            self.by_second[int(self._clock.now_s - self._began_s)] += size_bytes
            await anyio.lowlevel.checkpoint()

    def seconds(self, first: int, last: int) -> int:
        """What was sent from one second up to another."""
        return sum(self.by_second[second] for second in range(first, last))


def limits(**own: int | None) -> Callable[[str], int | None]:
    """A manifest's word on each job's own limit."""
    return own.get


async def test_nothing_limits(clock: FakeClock) -> None:
    """Without a limit nobody waits, and no time passes."""
    allowance = Pace(clock).of("a")
    assert [await allowance.granted(size) for size in (1, MB)] == [1, MB]
    assert (allowance.limit_bytes_s, allowance.share_bytes_s, allowance.lanes(8)) == (None, None, 8)
    assert clock.slept_s == []


@pytest.mark.parametrize("limit", [1000, 20_000, 2 * MB, 80 * MB])
async def test_eight_lanes_share_a_limit(clock: FakeClock, limit: int) -> None:
    """Together they keep to it within 3 %, and each gets its eighth."""
    road = Road(Pace(clock, Rules(usual=limit)), clock)
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(road.lane, str(number), "a", 10.0)
    assert road.seconds(0, 10) == pytest.approx(10 * limit, rel=0.03)
    assert all(part == pytest.approx(road.by_lane.total() / 8, rel=0.15) for part in road.by_lane.values())


async def test_jobs_with_one_limit_share_it(clock: FakeClock) -> None:
    """Two jobs of one process under the usual limit send as much as one; one with its own limit has that."""
    pace = Pace(clock, Rules(usual=MB), own_limit=limits(c=3 * MB))
    assert pace.gate(MB) is pace.gate(MB)
    road = Road(pace, clock)
    async with anyio.create_task_group() as tasks:
        for job in ("a", "b"):
            tasks.start_soon(road.lane, job, job, 10.0)
    assert road.by_lane.total() == pytest.approx(10 * MB, rel=0.03)
    assert road.by_lane["a"] == pytest.approx(road.by_lane["b"], rel=0.05)
    assert pace.of("c").limit_bytes_s == 3 * MB


async def test_a_limit_changed_while_it_is_sent(clock: FakeClock) -> None:
    """Lower, off and back: each within a second, for those who queue as for those who come."""
    own: dict[str, int | None] = {"a": MB}
    road = Road(Pace(clock, own_limit=own.get), clock)
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(road.lane, str(number), "a", 40.0)
        began_s = clock.now_s
        while clock.now_s < began_s + 10:
            await anyio.lowlevel.checkpoint()
        own["a"] = 10_000
        while clock.now_s < began_s + 25:
            await anyio.lowlevel.checkpoint()
        own["a"] = 2 * MB
    assert road.seconds(0, 10) == pytest.approx(10 * MB, rel=0.03)
    assert road.seconds(12, 24) == pytest.approx(120_000, rel=0.03)
    assert road.seconds(27, 37) == pytest.approx(20 * MB, rel=0.03)


async def test_a_limit_is_looked_up_once_a_second(clock: FakeClock) -> None:
    """However many pieces go, the manifest is asked once a second for each job."""
    asked: list[str] = []
    pace = Pace(clock, Rules(usual=MB), own_limit=asked.append)
    await Road(pace, clock).lane("1", "a", 10.0, 1000)
    assert 9 <= len(asked) <= 11


async def test_the_timetable_turns_while_it_is_sent(clock: FakeClock) -> None:
    """At eight the day's limit begins, and where the timetable is silent the usual one holds; a job's own wins."""
    clock.now_s = datetime(2026, 11, 23, 7, 59, 50).timestamp()  # noqa: DTZ001 - the wall's clock
    table = timetable(["08:00-18:00 500kB/s"])
    pace = Pace(clock, Rules(usual=2 * MB), timetable=table, own_limit=limits(b=0))
    road = Road(pace, clock)
    await road.lane("1", "a", 30.0)
    assert road.seconds(0, 10) == pytest.approx(20 * MB, rel=0.03)
    assert road.seconds(11, 29) == pytest.approx(18 * MB / 2, rel=0.03)
    assert pace.of("b").limit_bytes_s is None


async def test_the_share_of_one_more_lane(clock: FakeClock) -> None:
    """A request is made as large as what it may expect to send at, beside those under way."""
    pace = Pace(clock, Rules(usual=900_000))
    first, second = pace.of("a"), pace.of("b")
    assert first.share_bytes_s == 900_000
    with first.sending(), second.sending():
        assert first.share_bytes_s == 300_000
    assert first.share_bytes_s == 900_000


async def test_whoever_is_cut_while_queueing_holds_up_nobody(clock: FakeClock) -> None:
    """A lane cancelled at the gate leaves it to the next."""
    pace = Pace(clock, Rules(usual=1000))
    road = Road(pace, clock)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pace.of("a").granted(MB)
    await road.lane("1", "a", 10.0)
    assert road.by_lane.total() == pytest.approx(10_000, rel=0.03)

"""Which lane a worker gets, and where a lane is cut in two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.plan import make_plan
from engine.model import MOST_LANES, ArtifactRecord, JobState, Lane, Span, WireName
from engine.runtime.lanes import LEAST_REQUEST_S, Lanes
from engine.runtime.manifest import Manifest
from engine.runtime.supply import Sealed
from tests.engine.world import JOB, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
TOTAL = 32 * MIB


@pytest.fixture
def manifest(state: Path) -> Iterator[Manifest]:
    """One job that is about to be uploaded."""
    record = ArtifactRecord("artifact", TOTAL, "audio/ogg", "talk.ogg", "standard", is_source=False)
    with Manifest(state) as manifest:
        manifest.find_or_add(JOB, new=False)
        manifest.move(JOB.id, JobState.PREPARING)
        manifest.move(JOB.id, JobState.UPLOADING, artifact=record)
        yield manifest


def begun(manifest: Manifest, clock: FakeClock, count: int = 2, *, divisible: bool = True) -> Lanes:
    """An upload over so many lanes, none of them begun."""
    plan = make_plan(TOTAL, lanes=count)
    lanes = [Lane(index, span, partial=True) for index, span in enumerate(plan.lanes)]
    manifest.save_plan(JOB.id, plan, lanes, WireName.TUS)
    return Lanes(JOB.id, lanes, lanes, Sealed(TOTAL), manifest, clock, divisible=divisible)


def at_work(lane: Lane, acked_bytes: int, offered_bytes: int) -> Lane:
    """The lane once so much of it was acknowledged."""
    return replace(lane, created=True, deferred=True, acked_bytes=acked_bytes, offered_bytes=offered_bytes)


def moved(lanes: Lanes, clock: FakeClock, lane: Lane, size_bytes: int) -> Lane:
    """A second in which so much of a lane arrives, with half a MiB more under way."""
    lane = at_work(lane, size_bytes, size_bytes + MIB // 2)
    lanes.sends(lane, lane.span.start + lane.offered_bytes)
    clock.now_s += 1.0
    lanes.arrived(lane.index, size_bytes)
    return lane


def test_free_lanes_go_first(manifest: Manifest, clock: FakeClock) -> None:
    """In the artifact's order."""
    lanes = begun(manifest, clock)
    assert [lane.index for lane in (lanes.take(), lanes.take()) if lane] == [0, 1]


def test_lanes_that_take_no_time_are_taken_together(manifest: Manifest, clock: FakeClock) -> None:
    """As many as keep a worker busy for two seconds, as long as there are others for those at work."""
    lanes = begun(manifest, clock, 16)
    first, second = lanes.take(), lanes.take()
    assert first is not None
    assert second is not None
    assert first.span.size_bytes == second.span.size_bytes == 2 * MIB
    moved(lanes, clock, first, 2 * MIB)
    lanes.arrived(second.index, 2 * MIB)
    lanes.done(first.index)
    whole = lanes.take()  # both moved 2 MiB in a second
    assert whole is not None
    assert (whole.index, whole.span) == (2, Span(4 * MIB, 8 * MIB))
    stored = manifest.lanes(manifest.job(JOB.id))
    assert [lane.index for lane in stored] == [0, 1, 2, *range(4, 16)]
    assert stored[2].span == whole.span


def test_what_was_begun_is_not_taken_together(manifest: Manifest, clock: FakeClock) -> None:
    """The server has a part of it, under an address of its own."""
    lanes = begun(manifest, clock, 16)
    first, second = lanes.take(), lanes.take()
    assert first is not None
    assert second is not None
    moved(lanes, clock, first, MIB)
    lanes.arrived(second.index, 2 * MIB)
    lanes.put_back(at_work(first, MIB, MIB))
    again = lanes.take()
    assert again is not None
    assert again.span == first.span


def test_on_a_slow_link_lanes_stay_as_they_are(manifest: Manifest, clock: FakeClock) -> None:
    """What a repair sends again is a lane."""
    lanes = begun(manifest, clock, 16)
    first = lanes.take()
    assert first is not None
    moved(lanes, clock, first, MIB // 2)
    following = lanes.take()
    assert following is not None
    assert following.span.size_bytes == 2 * MIB


def test_the_slowest_lane_is_cut_in_two(manifest: Manifest, clock: FakeClock) -> None:
    """What is under way stays its own; half of the rest goes to who asks, and both are committed at once."""
    lanes = begun(manifest, clock)
    slow, quick = lanes.take(), lanes.take()
    assert slow is not None
    assert quick is not None
    moved(lanes, clock, quick, 8 * MIB)
    moved(lanes, clock, slow, MIB)
    new = lanes.take()
    assert new is not None
    assert slow.span.start + MIB + MIB // 2 < new.span.start < slow.span.stop == new.span.stop
    assert lanes.stop_of(slow.index) == new.span.start
    stored = manifest.lanes(manifest.job(JOB.id))
    assert [lane.span for lane in stored] == [Span(0, new.span.start), new.span, quick.span]
    assert [lane.index for lane in stored] == [0, 2, 1]


def test_what_would_soon_be_done_is_left_alone(manifest: Manifest, clock: FakeClock) -> None:
    """A lane costs its creation first."""
    lanes = begun(manifest, clock, 1)
    lane = lanes.take()
    assert lane is not None
    moved(lanes, clock, lane, TOTAL - MIB)
    assert lanes.take() is None
    assert not lanes.finished


def test_a_creation_that_met_an_outage_says_nothing_of_the_next(manifest: Manifest, clock: FakeClock) -> None:
    """What a lane costs is what one costs as a rule."""
    lanes = begun(manifest, clock, 1)
    assert lanes.take() is not None
    for seconds in (0.1, 30.0, 0.1):
        lanes.created(seconds)
    assert lanes.request_s == LEAST_REQUEST_S
    for _ in range(3):
        lanes.created(2.0)
    assert lanes.request_s == 4 * 2 * 2.0


def test_nothing_is_cut_before_it_is_known_to_be_slow(manifest: Manifest, clock: FakeClock) -> None:
    """Not in the first moments."""
    lanes = begun(manifest, clock, 1)
    assert lanes.take() is not None
    assert lanes.take() is None


@pytest.mark.parametrize(("divisible", "told"), [(False, False), (True, True)])
def test_a_lane_of_a_length_stays_whole(manifest: Manifest, clock: FakeClock, *, divisible: bool, told: bool) -> None:
    """Where the server was told how long it is, it waits for all of it."""
    lanes = begun(manifest, clock, 1, divisible=divisible)
    lane = lanes.take()
    assert lane is not None
    lane = moved(lanes, clock, lane, MIB)
    lanes.sends(replace(lane, deferred=not told), lane.span.start + lane.offered_bytes)
    assert lanes.take() is None
    assert lanes.most_bytes(lane) is None


def test_bytes_that_may_have_arrived_are_never_cut_away(manifest: Manifest, clock: FakeClock) -> None:
    """After a failed request the lane asks where it stands; until then all that was offered may be there."""
    lanes = begun(manifest, clock, 1)
    lane = lanes.take()
    assert lane is not None
    lane = moved(lanes, clock, lane, MIB)
    doubted = replace(lane, offered_bytes=20 * MIB)
    lanes.sends(doubted, doubted.remaining.start)
    new = lanes.take()
    assert new is not None
    assert new.span.start >= 20 * MIB


def test_near_the_end_requests_leave_something_to_take(manifest: Manifest, clock: FakeClock) -> None:
    """Where others have nothing to do, one request takes half of the rest at most."""
    lanes = begun(manifest, clock, 1)
    lane = lanes.take()
    assert lane is not None
    lane = moved(lanes, clock, lane, MIB)
    assert lanes.most_bytes(lane) == (TOTAL - MIB) // 2


@pytest.mark.parametrize("rest_bytes", [0, 1, 2, (128 << 10) - 1])
def test_a_small_rest_goes_in_one_request(manifest: Manifest, clock: FakeClock, rest_bytes: int) -> None:
    """However slow the lane is: half of one byte is none."""
    lanes = begun(manifest, clock, 1)
    lane = lanes.take()
    assert lane is not None
    clock.now_s += 1e6
    lane = moved(lanes, clock, lane, TOTAL - rest_bytes)
    assert lanes.most_bytes(lane) is None


def test_a_lane_that_was_put_back_is_taken_again(manifest: Manifest, clock: FakeClock) -> None:
    """With the end that it has now."""
    lanes = begun(manifest, clock, 1)
    lane = lanes.take()
    assert lane is not None
    lane = moved(lanes, clock, lane, MIB)
    new = lanes.take()
    assert new is not None
    lanes.put_back(lane)
    again = lanes.take()
    assert again is not None
    assert (again.index, again.span.stop) == (lane.index, new.span.start)
    lanes.done(again.index)
    lanes.done(new.index)
    assert lanes.finished


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4 * MIB)), max_size=150), count=st.integers(1, 16))
def test_lanes_always_make_up_the_artifact(
    manifest: Manifest, clock: FakeClock, steps: list[tuple[int, int]], count: int
) -> None:
    """However they are cut: none missing, none twice, not more than a join can name, and none cut below its bytes."""
    lanes = begun(manifest, clock, count)
    work: dict[int, Lane] = {}
    for choice, size_bytes in steps:
        new = lanes.take() if len(work) <= choice else None
        if new is not None:
            work[new.index] = new
        elif work:
            lane = list(work.values())[choice % len(work)]
            lane = replace(lane, span=Span(lane.span.start, lanes.stop_of(lane.index)))
            acked = min(lane.acked_bytes + size_bytes, lane.span.size_bytes)
            work[lane.index] = at_work(lane, acked, acked)
            lanes.sends(work[lane.index], lane.span.start + acked)
            clock.now_s += 1.0
            lanes.arrived(lane.index, acked)
            if acked == lane.span.size_bytes:
                lanes.done(lane.index)
                del work[lane.index]
    stored = manifest.lanes(manifest.job(JOB.id))
    assert len(stored) <= MOST_LANES
    assert [0, *(lane.span.stop for lane in stored)] == [*(lane.span.start for lane in stored), TOTAL]
    assert all(lane.span.start + lane.acked_bytes <= lanes.stop_of(lane.index) for lane in work.values())

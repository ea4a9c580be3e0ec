from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.plan import MAX_PARTS, PART_SIZE_BYTES, make_plan
from engine.model import MAX_LANES, Span

TERABYTE = 1 << 40
SIZES = st.one_of(
    st.integers(0, 8 * TERABYTE),
    st.integers(0, 200).flatmap(
        lambda parts: st.integers(-1, 1).map(lambda off: max(0, parts * PART_SIZE_BYTES + off))
    ),
    st.integers(-2, 2).map(lambda off: MAX_PARTS * PART_SIZE_BYTES + off),
)
LANES = st.integers(1, MAX_LANES)


@settings(deadline=None, max_examples=150)
@given(total_bytes=SIZES, lanes=LANES)
def test_lanes_tile_the_artifact(total_bytes: int, lanes: int) -> None:
    """Every byte travels in exactly one lane, in order, and no lane is empty unless the artifact is."""
    plan = make_plan(total_bytes, lanes=lanes)
    assert plan.lanes[0].start == 0
    assert plan.lanes[-1].stop == total_bytes
    assert all(left.stop == right.start for left, right in pairwise(plan.lanes))
    assert all(lane.size_bytes for lane in plan.lanes) or plan.lanes == (Span(0, 0),)
    assert 1 <= len(plan.lanes) <= lanes


@settings(deadline=None, max_examples=150)
@given(total_bytes=SIZES, lanes=LANES)
def test_lanes_begin_at_parts_and_are_nearly_equal(total_bytes: int, lanes: int) -> None:
    """A part never lies in two lanes, and no lane has more than one part more than another."""
    plan = make_plan(total_bytes, lanes=lanes)
    assert all(lane.start % plan.part_size_bytes == 0 for lane in plan.lanes)
    counts = [len(list(plan.parts_within(lane))) for lane in plan.lanes]
    assert sum(counts) == plan.part_count
    assert max(counts) - min(counts) <= 1


@settings(deadline=None, max_examples=100)
@given(total_bytes=SIZES)
def test_there_are_never_more_parts_than_a_submission_takes(total_bytes: int) -> None:
    """The part size doubles just as often as needed to stay at 10 000 parts."""
    plan = make_plan(total_bytes)
    assert plan.part_count <= MAX_PARTS
    assert plan.part_size_bytes == PART_SIZE_BYTES or total_bytes > MAX_PARTS * plan.part_size_bytes // 2


@settings(deadline=None, max_examples=60)
@given(total_bytes=st.integers(1, 3000 * PART_SIZE_BYTES), data=st.data())
def test_parts_tile_the_artifact(total_bytes: int, data: st.DataObject) -> None:
    """Each part ends where the next begins; only the last may be short, and none is empty."""
    plan = make_plan(total_bytes)
    index = data.draw(st.integers(0, plan.part_count - 1))
    part = plan.part(index)
    assert part.start == index * plan.part_size_bytes
    if index == plan.part_count - 1:
        assert part.stop == total_bytes
        assert part.size_bytes > 0
    else:
        assert part.size_bytes == plan.part_size_bytes


@settings(deadline=None, max_examples=100)
@given(total_bytes=st.integers(0, 50 * PART_SIZE_BYTES), data=st.data())
def test_parts_within_a_span_are_those_that_share_a_byte_with_it(total_bytes: int, data: st.DataObject) -> None:
    """The answer is the definition: every part that overlaps, and no other."""
    plan = make_plan(total_bytes)
    start = data.draw(st.integers(0, total_bytes))
    span = Span(start, data.draw(st.integers(start, total_bytes)))
    expected = [
        index
        for index in range(plan.part_count)
        if plan.part(index).start < span.stop and span.start < plan.part(index).stop and span.size_bytes
    ]
    assert list(plan.parts_within(span)) == expected


def test_a_plan_can_be_made_again() -> None:
    """The same arguments give the same plan, on any machine."""
    assert make_plan(123_456_789, lanes=7) == make_plan(123_456_789, lanes=7)


@pytest.mark.parametrize(("total_bytes", "lanes"), [(-1, 1), (1, 0), (1, MAX_LANES + 1)])
def test_impossible_plans_are_refused(total_bytes: int, lanes: int) -> None:
    """A negative size or a number of lanes that no server takes is the caller's mistake."""
    with pytest.raises(ValueError, match="cannot plan"):
        make_plan(total_bytes, lanes=lanes)


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (2, 1)])
def test_a_span_does_not_run_backwards(start: int, stop: int) -> None:
    """A span that covers no range of bytes cannot be made."""
    with pytest.raises(ValueError, match="not a span"):
        Span(start, stop)

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.plan import LEAST_LANE_BYTES
from engine.core.revision import revise
from engine.model import MAX_LANES, Lane, Plan, Span
from engine.redaction import Secret

PART = 100


def planned(*edges: int, partial: bool = True) -> tuple[Plan, list[Lane]]:
    """A plan over lanes between these offsets, all of them made and complete."""
    spans = [Span(start, stop) for start, stop in itertools.pairwise(edges)]
    lanes = [
        Lane(
            index,
            span,
            created=True,
            url=Secret(f"https://h/uploads/{index}"),
            acked_bytes=span.size_bytes,
            offered_bytes=span.size_bytes,
            generation=1,
            partial=partial,
        )
        for index, span in enumerate(spans)
    ]
    return Plan(PART, edges[-1], tuple(spans)), lanes


def indices(lanes: tuple[Lane, ...]) -> list[int]:
    return [lane.index for lane in lanes]


@st.composite
def uploads(draw: st.DrawFn) -> tuple[Plan, list[Lane], set[int], set[int]]:
    """Some lanes, some way through, some of whose parts have a digest, some of which has changed."""
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    edges = [0]
    for count in counts:
        edges.append(edges[-1] + count * PART)
    edges[-1] -= draw(st.integers(0, PART - 1))
    plan, lanes = planned(*edges, partial=len(counts) > 1)
    offered = [draw(st.integers(0, lane.span.size_bytes)) for lane in lanes]
    lanes = [
        replace(lane, offered_bytes=most, acked_bytes=most // 2) for lane, most in zip(lanes, offered, strict=True)
    ]
    known = draw(st.sets(st.integers(0, plan.part_count - 1)))
    changed = draw(st.sets(st.sampled_from(sorted(known)))) if known else set()
    return plan, lanes, known, changed


@given(upload=uploads(), more=st.integers(0, 5 * LEAST_LANE_BYTES), judged_later=st.booleans())
def test_no_lane_is_kept_that_may_hold_a_changed_byte(
    upload: tuple[Plan, list[Lane], set[int], set[int]],
    more: int,
    judged_later: bool,  # noqa: FBT001 - drawn
) -> None:
    """Kept lanes touch only parts that hold; the lanes cover the recording as it is; digests that lie are forgotten."""
    plan, lanes, known, changed = upload
    total = plan.total_bytes + more
    revision = revise(plan, lanes, known, changed, total, judged_later=judged_later)
    assert [lane.span.start for lane in revision.lanes] == [0, *(lane.span.stop for lane in revision.lanes)][:-1]
    assert revision.lanes[-1].span.stop == total
    assert indices(revision.lanes) == list(range(len(revision.lanes)))
    assert len(revision.lanes) <= MAX_LANES
    for before, after in zip(lanes, revision.lanes, strict=False):
        if after.created:
            assert after == before
            start = before.span.start
            touched = set(plan.parts_within(Span(start, start + before.offered_bytes)))
            assert not touched & changed
            assert judged_later or touched <= known
        else:
            assert (after.acked_bytes, after.offered_bytes, after.url) == (0, 0, None)
            assert after.generation > before.generation
    assert changed <= revision.forgotten
    assert set(indices(revision.dropped)) == {
        before.index for before, after in zip(lanes, revision.lanes, strict=False) if not after.created
    }


@given(upload=uploads())
def test_what_did_not_change_costs_nothing(upload: tuple[Plan, list[Lane], set[int], set[int]]) -> None:
    """Only the time of change is another: every lane stays as it is."""
    plan, lanes, known, _ = upload
    revision = revise(plan, lanes, known, (), plan.total_bytes, judged_later=True)
    assert list(revision.lanes) == lanes
    assert not revision.dropped
    assert not revision.forgotten


def test_an_edit_costs_the_lane_it_is_in() -> None:
    """Of ten lanes one goes again, and its key is another."""
    plan, lanes = planned(*range(0, 3001, 300))
    revision = revise(plan, lanes, range(30), {14}, 3000, judged_later=False)
    assert indices(revision.dropped) == [4]
    assert revision.forgotten == {14}
    assert [lane.created for lane in revision.lanes] == [index != 4 for index in range(10)]


def test_a_part_that_two_lanes_share_costs_both() -> None:
    """After a growth lanes need not begin at parts."""
    plan, lanes = planned(0, 250, 500)
    revision = revise(plan, lanes, range(5), {2}, 500, judged_later=False)
    assert indices(revision.dropped) == [0, 1]


def test_what_was_appended_becomes_a_lane() -> None:
    """All lanes stay; the short part at the old end is hashed again, as it goes on."""
    plan, lanes = planned(0, 200, 350)
    revision = revise(plan, lanes, range(4), (), 1000, judged_later=False)
    assert not revision.dropped
    assert revision.forgotten == {3}
    assert revision.lanes[:2] == tuple(lanes)
    assert (revision.lanes[2].span, revision.lanes[2].partial, revision.lanes[2].created) == (
        Span(350, 1000),
        True,
        False,
    )


def test_much_that_was_appended_becomes_many_lanes() -> None:
    """As many as it is worth."""
    plan, lanes = planned(0, 200, 350)
    revision = revise(plan, lanes, range(4), (), 350 + 3 * LEAST_LANE_BYTES, judged_later=False)
    assert [lane.span.size_bytes for lane in revision.lanes[2:]] == [LEAST_LANE_BYTES] * 3


def test_an_upload_that_cannot_be_joined_goes_again_when_it_grows() -> None:
    """The server was told its length, and it is no partial upload."""
    plan, lanes = planned(0, 350, partial=False)
    revision = revise(plan, lanes, range(4), (), 1000, judged_later=False)
    assert indices(revision.dropped) == [0]
    assert [lane.span for lane in revision.lanes] == [Span(0, 1000)]


def test_the_last_of_sixty_four_takes_all_the_rest() -> None:
    """It goes again for that; the others stay."""
    plan, lanes = planned(*range(0, PART * MAX_LANES + 1, PART))
    revision = revise(plan, lanes, range(64), (), 10 * PART * MAX_LANES, judged_later=False)
    assert indices(revision.dropped) == [63]
    assert revision.lanes[63].span == Span(6300, 64000)
    assert len(revision.lanes) == 64


@pytest.mark.parametrize(("judged_later", "dropped"), [(True, []), (False, [0])])
def test_half_a_part_is_judged_by_whoever_compares_the_whole(judged_later: bool, dropped: list[int]) -> None:  # noqa: FBT001 - a column
    """Nothing is known here of bytes that have no digest yet."""
    plan, lanes = planned(0, 300, 600)
    lanes[0] = replace(lanes[0], acked_bytes=150, offered_bytes=150)
    revision = revise(plan, lanes, {0, 3, 4, 5}, (), 600, judged_later=judged_later)
    assert indices(revision.dropped) == dropped


def test_bytes_that_may_still_arrive_count_as_there() -> None:
    """They were offered before the change, and no answer came: the lane may hold them when it is asked."""
    plan, lanes = planned(0, 300, 600)
    lanes[0] = replace(lanes[0], acked_bytes=100, offered_bytes=200)
    assert indices(revise(plan, lanes, {0, 1}, {1}, 600, judged_later=True).dropped) == [0]


def test_a_shorter_recording_is_not_revised() -> None:
    """That is an error, and not for this place to tell."""
    plan, lanes = planned(0, 300)
    with pytest.raises(ValueError, match="cannot be revised"):
        revise(plan, lanes, (), (), 299, judged_later=True)

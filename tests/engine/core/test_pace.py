from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.pace import LANE_BYTES_S, Bucket, Rules, lanes_worth, limit_in_force

WINDOW_S = 10.0


@pytest.mark.parametrize(
    ("own", "timed", "usual", "expected"),
    [
        (None, None, None, None),
        (None, None, 5000, 5000),
        (None, 4000, 5000, 4000),
        (3000, 4000, 5000, 3000),
        (9000, 4000, 5000, 9000),
        (0, 4000, 5000, None),
        (None, 0, 5000, None),
        (None, None, 0, None),
    ],
)
def test_which_limit_holds(own: int | None, timed: int | None, usual: int | None, expected: int | None) -> None:
    """The job's own, else the timetable's, else the usual one, be it higher or lower; `off` is a word like another."""
    assert limit_in_force(own, Rules(timed, usual)) == expected


@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from([1000.0, 20e3, 2e6, 100e6]),
    late_s=st.lists(st.floats(0, 0.02), min_size=1, max_size=20),
    pauses=st.dictionaries(st.integers(0, 300), st.floats(0, 3), max_size=5),
)
def test_no_ten_seconds_see_more(rate: float, late_s: list[float], pauses: dict[int, float]) -> None:
    """However late timers fire and however the sender pauses, 10 s never hold more than the limit by 3 %."""
    bucket, now_s = Bucket(rate, 0.0), 0.0
    sent: list[tuple[float, int]] = []
    while now_s < 25:
        now_s += bucket.wait_s(now_s) + late_s[len(sent) % len(late_s)] + pauses.get(len(sent), 0.0)
        if not bucket.wait_s(now_s):
            bucket.spend(bucket.piece_bytes, now_s)
            sent.append((now_s, bucket.piece_bytes))
    for start_s, _ in sent:
        within = sum(size for at_s, size in sent if start_s <= at_s < start_s + WINDOW_S)
        assert within <= 1.03 * rate * WINDOW_S


@settings(deadline=None, max_examples=30)
@given(rate=st.sampled_from([1000.0, 20e3, 2e6, 100e6]), late_s=st.lists(st.floats(0, 0.04), min_size=1, max_size=20))
def test_late_timers_cost_no_rate(rate: float, late_s: list[float]) -> None:
    """Timers that fire late are made up for: 10 s of somebody who always has more to send are 10 s of the limit."""
    bucket, now_s, sent, pieces = Bucket(rate, 0.0), 0.0, 0, 0
    while now_s < WINDOW_S:
        wait_s = bucket.wait_s(now_s)
        now_s += wait_s + (late_s[pieces % len(late_s)] if wait_s else 0.0)
        bucket.spend(bucket.piece_bytes, now_s)
        sent, pieces = sent + bucket.piece_bytes, pieces + 1
    assert sent >= 0.98 * rate * WINDOW_S


def test_a_limit_is_worth_few_lanes() -> None:
    """One at low limits, all at high ones, and never none: each finishes its smallest request in good time."""
    assert lanes_worth(None, 8) == 8
    assert [lanes_worth(limit, 8) for limit in (1000, 20_000, 3 * LANE_BYTES_S, 2e6)] == [1, 1, 3, 8]

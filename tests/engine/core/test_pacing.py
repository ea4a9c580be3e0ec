from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.pacing import (
    MIB,
    STATUS_PER_ID,
    UPLOADS_PER_KEY,
    RateLimit,
    RequestSize,
    RequestSizing,
)
from engine.model import Limits

SECOND = 1000  # the model server counts whole milliseconds, so that no rounding can hide a breach


@settings(deadline=None, max_examples=100)
@given(
    limit=st.sampled_from([UPLOADS_PER_KEY, STATUS_PER_ID]),
    pauses_ms=st.lists(st.integers(0, 30 * SECOND), min_size=1, max_size=40),
    data=st.data(),
)
def test_the_server_never_counts_more_calls_than_it_documents(
    limit: RateLimit, pauses_ms: list[int], data: st.DataObject
) -> None:
    """Whenever within its travel a call reaches the server, no window of the server's has too many."""
    now = 1_700_000_000.0
    stamps: list[float] = []
    arrivals: list[float] = []
    for pause_ms in pauses_ms:
        now += pause_ms / SECOND
        while (wait_s := limit.wait_s(stamps, now)) > 0:
            now += wait_s + 1 / SECOND
        travel_s = data.draw(st.integers(0, int(limit.window_s) * SECOND)) / SECOND
        arrivals.append(now + travel_s * data.draw(st.sampled_from([0.0, 0.5, 1.0])))
        now += travel_s
        stamps.append(now)
    for index in range(len(arrivals) - limit.calls):
        assert arrivals[index + limit.calls] - arrivals[index] >= limit.window_s


def test_the_first_calls_go_at_once_and_the_sixth_waits() -> None:
    """Five uploads need no patience; the sixth waits for the first to leave the window, margin included."""
    limit = UPLOADS_PER_KEY
    assert limit.wait_s([0.0, 1.0, 2.0, 3.0], 4.0) == 0.0
    assert limit.wait_s([0.0, 1.0, 2.0, 3.0, 4.0], 4.0) == pytest.approx(56.5)
    assert limit.wait_s([0.0, 1.0, 2.0, 3.0, 4.0], 60.5) == 0.0


@settings(deadline=None, max_examples=100)
@given(past=st.lists(st.floats(0, 2e9), max_size=20), now=st.floats(0, 2e9))
def test_a_wait_is_never_longer_than_the_window(past: list[float], now: float) -> None:
    """A clock set back by years must not make anyone wait for years."""
    assert 0.0 <= UPLOADS_PER_KEY.wait_s(past, now) <= 60.5 + 1e-6


def limits() -> st.SearchStrategy[Limits]:
    """Limits that can be kept: some multiple lies between the least and the most."""

    def bounded(multiple: int, least: int, room: int | None) -> Limits:
        smallest = -(-least // multiple) * multiple
        return Limits(least, None if room is None else smallest + room, multiple)

    ordinary = st.builds(
        bounded,
        st.sampled_from([1, 2, 1000, 256 << 10]),
        st.integers(1, 64 * MIB),
        st.none() | st.integers(0, 64 * MIB),
    )
    return st.one_of(ordinary, st.integers(1, 64 * MIB).map(lambda exact: Limits(exact_bytes=exact)))


EVENTS = st.one_of(
    st.tuples(st.just("took"), st.floats(0, 1000)),
    st.tuples(st.just("broke"), st.just(0.0)),
    st.tuples(st.just("too large"), st.just(0.0)),
)


def keeps(size: int, limits: Limits) -> bool:
    if limits.exact_bytes is not None:
        return size == limits.exact_bytes
    most = limits.max_bytes
    return limits.min_bytes <= size and (most is None or size <= most) and size % limits.multiple_bytes == 0


@settings(deadline=None, max_examples=150)
@given(limits=limits(), events=st.lists(EVENTS, max_size=30))
def test_a_request_always_keeps_the_servers_limits(limits: Limits, events: list[tuple[str, float]]) -> None:
    """Whatever happened so far, the next payload is one that the server said it takes."""
    size = RequestSize(limits)
    assert keeps(size.bytes(), limits)
    for what, seconds in events:
        sent = size.bytes()
        if what == "took":
            size.took(sent, seconds)
        elif what == "broke":
            size.broke()
        elif size.too_large(sent):
            assert size.bytes() < sent
        assert keeps(size.bytes(), limits)


@settings(deadline=None, max_examples=100)
@given(limits=limits())
def test_a_server_that_takes_no_size_is_found_out(limits: Limits) -> None:
    """Answering 413 to everything ends after a bounded number of ever smaller payloads."""
    size = RequestSize(limits)
    for _ in range(64):
        if not size.too_large(size.bytes()):
            return
    pytest.fail("the size never became too small")


def test_a_quick_link_earns_larger_requests() -> None:
    """The size grows fourfold at most per step, up to the ceiling, while a payload takes less than the target."""
    size = RequestSize()
    seen = [size.bytes()]
    for _ in range(5):
        size.took(size.bytes(), 0.01 if size.bytes() < 64 * MIB else 1.01)
        seen.append(size.bytes())
    assert seen == [MIB, 4 * MIB, 16 * MIB, 64 * MIB, 64 * MIB, 64 * MIB]


def test_a_payload_that_took_less_than_a_second_may_grow_beyond() -> None:
    """On a link that costs nothing, what lies between two requests must not limit it; there is an end to it."""
    size = RequestSize()
    seen = []
    for _ in range(6):
        size.took(size.bytes(), size.bytes() / (300 * MIB))
        seen.append(size.bytes() // MIB)
    assert seen == [4, 16, 64, 256, 300, 300]
    for _ in range(3):
        size.took(size.bytes(), 0.1)
    assert size.bytes() == 512 * MIB
    size.took(size.bytes(), 20.0)
    assert size.bytes() == 64 * MIB


@settings(deadline=None, max_examples=100)
@given(rate=st.integers(1_000, 10**9))
def test_the_size_settles_where_one_payload_takes_the_target_time(rate: int) -> None:
    """On a steady link of any speed the size finds the target, within floor and ceiling."""
    sizing = RequestSizing()
    size = RequestSize()
    for _ in range(40):
        size.took(size.bytes(), size.bytes() / rate)
    wanted = min(max(rate * sizing.target_s, sizing.floor_bytes), sizing.ceiling_at(rate))
    assert size.bytes() == pytest.approx(wanted, rel=0.01)


def test_a_link_that_slows_down_gets_smaller_requests() -> None:
    """The next payload is aimed at the rate of the last, at once and not by halving."""
    size = RequestSize()
    size.took(MIB, 16.0)
    assert size.bytes() == MIB // 4


def test_a_shorter_aim_holds_for_the_next_request() -> None:
    """Near the end others wait for what one request holds: it must not be the size that was right before."""
    size = RequestSize()
    size.took(MIB, 1.0)
    assert size.bytes() == 4 * MIB
    size.aim(2.0)
    assert size.bytes() == 2 * MIB
    size.aim(8.0)
    assert size.bytes() == 2 * MIB
    size.aim(1e-6)
    assert size.bytes() == 64 << 10


def test_a_broken_request_halves_the_next_but_not_below_the_floor() -> None:
    """A link that breaks often gets payloads that fit between the breaks, and still useful ones."""
    size = RequestSize()
    for _ in range(20):
        before = size.bytes()
        size.broke()
        assert size.bytes() == max(before // 2, 64 << 10)


def test_the_short_last_payload_says_nothing_about_the_link() -> None:
    """The end of a file takes mostly the round trip; it must not shrink the next payload."""
    size = RequestSize()
    size.took(10, 3.0)
    assert size.bytes() == MIB


def test_a_413_is_remembered() -> None:
    """What the server refused once is never grown to again."""
    size = RequestSize()
    assert size.too_large(MIB)
    for _ in range(10):
        size.took(size.bytes(), 0.001)
    assert size.bytes() == MIB // 2


def test_a_413_goes_back_to_what_was_taken() -> None:
    """A payload refused by a proxy went to waste, so no second one does: the size taken before is the limit."""
    size = RequestSize()
    size.took(MIB, 0.001)
    assert size.bytes() == 4 * MIB
    assert size.too_large(4 * MIB)
    assert size.bytes() == MIB
    size.took(MIB, 0.001)
    assert size.bytes() == MIB


def test_what_was_taken_before_may_be_refused_later() -> None:
    """A limit that shrank is looked for by halving again."""
    size = RequestSize()
    size.took(MIB, 1.0)
    assert size.too_large(MIB)
    assert size.bytes() == MIB // 2


def test_an_exact_size_is_not_negotiable() -> None:
    """A server that insists on one size and refuses it takes none."""
    assert not RequestSize(Limits(exact_bytes=6 * MIB)).too_large(6 * MIB)


@pytest.mark.parametrize(
    ("share_bytes_s", "expected"), [(None, MIB), (10 * MIB, MIB), (100_000, 400_000), (2500, 64 << 10)]
)
def test_a_share_of_the_link_makes_requests_small_and_teaches_nothing(
    share_bytes_s: float | None, expected: int
) -> None:
    """A lane that waits for its turn is not a slow link: when the limit goes, requests are as large as before it."""
    size = RequestSize()
    assert size.bytes(share_bytes_s) == expected
    size.took(expected, 0.5 if expected == MIB else 4.0)
    assert size.bytes() == (4 * MIB if expected == MIB else MIB)


def test_a_share_does_not_break_what_a_server_insists_on() -> None:
    """A server's least size and its multiple hold for requests that are kept small, too."""
    assert RequestSize(Limits(min_bytes=5 * MIB)).bytes(1000) == 5 * MIB
    assert RequestSize(Limits(exact_bytes=6 * MIB)).bytes(1000) == 6 * MIB
    assert RequestSize(Limits(multiple_bytes=256 << 10)).bytes(100_000) == 256 << 10

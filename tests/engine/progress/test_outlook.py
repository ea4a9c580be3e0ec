"""How preparing and uploading look as one piece of work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import Prepared, Sealed, Uploaded
from engine.progress.outlook import Outlook

KB = 1000


def outlook(*told: tuple[float, Prepared | Uploaded | Sealed]) -> Outlook:
    seen = Outlook()
    for now_s, event in told:
        seen.take(event, now_s)
    return seen


def prepared(done_s: float, speed: float | None = 50.0) -> Prepared:
    return Prepared("job", done_s, 3600.0, speed)


def test_size_is_expected_from_what_is_there() -> None:
    """A tenth of the recording in 1 MB makes 10 MB of all of it; sealed, it is what it is."""
    half_made = outlook((0, prepared(360)), (0, Uploaded("job", 0, 1000 * KB)))
    assert half_made.expected_bytes == 10_000 * KB
    assert half_made.prepared_share == 0.1

    half_made.take(Sealed("job", 9876 * KB, 1), 1)
    assert (half_made.expected_bytes, half_made.prepared_share) == (9876 * KB, 1.0)


@pytest.mark.parametrize(
    ("sent_kb_s", "left_s"),
    [
        (20, (10_000 - 20) / 20),  # the link is slower
        (900, (3600 - 360) / 50),  # the encoder is slower
    ],
)
def test_the_slower_of_the_two_counts(sent_kb_s: int, left_s: float) -> None:
    """The time left is that of whichever takes longer."""
    seen = outlook(
        (0, prepared(360)),
        (0, Uploaded("job", 0, 1000 * KB)),
        (1, Uploaded("job", sent_kb_s * KB, 1000 * KB)),
    )

    assert seen.left_s == pytest.approx(left_s)


def test_nothing_is_said_that_is_not_known() -> None:
    """Without a length, a speed or a rate there is no time left to be told."""
    assert outlook().left_s is None
    assert outlook((0, Prepared("job", 5.0, None, 10.0)), (0, Uploaded("job", 0, 10))).left_s is None
    assert outlook((0, prepared(5, None)), (0, Uploaded("job", 0, 10)), (2, Uploaded("job", 5, 10))).left_s is None
    assert outlook((0, prepared(5)), (0, Uploaded("job", 0, 10))).left_s is None


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 100), st.integers(0, 100))))
def test_whatever_comes_it_holds_together(told: list[tuple[float, int, int]]) -> None:
    """No more is acknowledged than there will be, and no time left is negative."""
    seen, now_s, made, acked = Outlook(), 0.0, 0, 0
    for seconds, more, sent in told:
        now_s += seconds
        made += more
        acked = min(made, acked + sent)
        seen.take(prepared(min(3600.0, made)), now_s)
        seen.take(Uploaded("job", acked, made), now_s)
        assert seen.expected_bytes >= seen.acked_bytes == acked
        assert seen.left_s is None or seen.left_s >= 0

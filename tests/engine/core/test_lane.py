"""What one reply may decide about a lane, and what takes several."""

from __future__ import annotations

import pytest

from engine.core import lane as policy
from engine.core.lane import MAX_LOSSES, MAX_REFUSALS, Append, Create, Doubt, LaneState, Locate
from engine.errors import ServiceError, UploadRefused
from engine.faults import Gone, Interrupted, Refused, TooLarge
from engine.model import Lane, Span, Standing
from engine.redaction import Secret

LENGTH_BYTES = 40
URL = Secret("https://files.example/upload-one")
LANE = Lane(0, Span(0, LENGTH_BYTES), created=True, url=URL, acked_bytes=10, offered_bytes=20)
APPEND = Append(Span(10, 20), 10)


def doubtful() -> LaneState:
    """A run that has just begun: where the lane stands must be asked."""
    return LaneState(LANE)


def absent(state: LaneState) -> LaneState:
    """The server says once that the upload is not there."""
    return policy.failed(state, Locate(), Gone("404"))


def remade(state: LaneState) -> LaneState:
    """A new resource, and an append that was cut."""
    assert policy.next_step(state, LENGTH_BYTES) == Create(LENGTH_BYTES)
    state = policy.created(state, Secret("https://files.example/upload-two"), None)
    return policy.failed(state, Append(Span(0, 10), 0), Interrupted("cut"))


def test_one_404_is_asked_again() -> None:
    """A proxy between two versions of a service says 404 too; an upload is gone when two answers in a row say so."""
    once = absent(doubtful())
    assert policy.next_step(once, LENGTH_BYTES) == Locate()
    assert policy.next_step(absent(once), LENGTH_BYTES) == Create(LENGTH_BYTES)


def test_an_answer_between_two_404_ends_the_suspicion() -> None:
    """Absences count only in a row: with the upload seen in between, the second is the first again."""
    seen = policy.located(absent(doubtful()), Standing(10, LENGTH_BYTES))
    later = absent(policy.failed(seen, APPEND, Interrupted("cut")))
    assert policy.next_step(later, LENGTH_BYTES) == Locate()


def test_the_absence_of_one_upload_says_nothing_of_the_next() -> None:
    """A resource that was made anew is believed gone only after two answers of its own."""
    again = absent(remade(absent(absent(doubtful()))))
    assert policy.next_step(again, LENGTH_BYTES) == Locate()


def test_losses_are_counted_for_each_run() -> None:
    """The third loss ends the run, with everything kept; the next run may lose as many."""
    state = doubtful()
    for _ in range(MAX_LOSSES):
        state = remade(absent(absent(state)))
    with pytest.raises(ServiceError, match="lost the upload 3 times"):
        absent(absent(state))
    assert policy.next_step(absent(absent(LaneState(state.lane))), LENGTH_BYTES) == Create(LENGTH_BYTES)


def test_a_refused_question_is_put_again() -> None:
    """One 400 to a HEAD may be a lock or a proxy; the third in a row is the server's opinion."""
    state = doubtful()
    for _ in range(MAX_REFUSALS - 1):
        state = policy.failed(state, Locate(), Refused("400", 400))
        assert policy.next_step(state, LENGTH_BYTES) == Locate()
    with pytest.raises(UploadRefused, match="refuses to say where the upload stands"):
        policy.failed(state, Locate(), Refused("400", 400))


def test_too_large_is_no_refusal() -> None:
    """A server that takes smaller appends only is met half way as often as it takes, and may still refuse one after."""
    state = policy.located(doubtful(), Standing(10, LENGTH_BYTES))
    for _ in range(20):
        state = policy.failed(state, APPEND, TooLarge("413"))
        assert state.doubt is Doubt.OFFSET
        state = policy.located(state, Standing(10, LENGTH_BYTES))
    state = policy.located(policy.failed(state, APPEND, Refused("400", 400)), Standing(10, LENGTH_BYTES))
    assert policy.next_step(state, 1) == Append(Span(10, 11), 10)

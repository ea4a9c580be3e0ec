from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.polling import LONGEST_S, SHORTEST_S, interval_s, outcome
from engine.errors import JobFailed, UnexpectedReply
from engine.model import JobStatus


@settings(deadline=None, max_examples=100)
@given(waited_s=st.floats(0, 1e7))
def test_the_interval_keeps_the_documented_limit_and_never_sleeps_long(waited_s: float) -> None:
    """Between five seconds and half a minute, whatever the wait so far."""
    assert SHORTEST_S <= interval_s(waited_s) <= LONGEST_S


def test_the_interval_grows_with_the_wait() -> None:
    """A long job is asked after less often, and found out late by a twentieth at most."""
    assert [interval_s(waited) for waited in (0, 60, 200, 400, 86_400)] == [5, 5, 10, 20, 30]


def test_processing_means_wait() -> None:
    """The service at work is no result."""
    assert outcome(JobStatus("id-1", "processing")) is None


@pytest.mark.parametrize("text", ["hello", ""])
def test_completed_gives_the_transcription(text: str) -> None:
    """Also when nobody spoke: an empty transcript is a result."""
    assert outcome(JobStatus("id-1", "completed", text)) == text


def test_completed_without_a_text_is_not_a_result() -> None:
    """The job is kept, and the hint names the call that asks again."""
    with pytest.raises(UnexpectedReply, match="sends no transcription") as error:
        outcome(JobStatus("id-1", "completed"))
    assert "speechstream wait id-1" in str(error.value.hint)


@pytest.mark.parametrize(("message", "said"), [("too noisy", "too noisy"), (None, "no reason given")])
def test_a_failed_job_says_why(message: str | None, said: str) -> None:
    """The service's own reason reaches the person, and so does the way to a new job."""
    with pytest.raises(JobFailed, match=said) as error:
        outcome(JobStatus("id-1", "failed", message=message))
    assert "--new" in str(error.value.hint)


def test_an_undocumented_status_is_not_taken_for_failure() -> None:
    """A status nobody documented must not end a paid job: it is shown, and the job can be asked after later."""
    with pytest.raises(UnexpectedReply, match=r"'queued' of job id-1 \(position 3\)"):
        outcome(JobStatus("id-1", "queued", message="position 3"))

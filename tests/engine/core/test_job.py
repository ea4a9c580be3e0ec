from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.core.job import FINAL, MOVES, Stage, after_upload, may_move, next_stage
from engine.model import JobKind, JobRecord, JobState, SourceIdentity, WireName

JOB = JobRecord(
    id="k3f9qz",
    kind=JobKind.TRANSCRIPTION,
    state=JobState.NEW,
    source="/recordings/interview.mp4",
    identity=SourceIdentity(1, 2, 3, 4, "f"),
    wish="auto",
    endpoint="https://speech.example/v1",
    idempotency_key="6f1d",
    created_at=0.0,
    updated_at=0.0,
)


def reachable(start: JobState) -> set[JobState]:
    """Every state that moves lead to from `start`."""
    seen = {start}
    found = [start]
    while found:
        found = [new for old in found for new in MOVES[old] if new not in seen]
        seen.update(found)
    return seen


def test_the_table_is_closed() -> None:
    """Every state has a row, and no row leads to the beginning or to itself."""
    assert set(MOVES) == set(JobState)
    for old, news in MOVES.items():
        assert old not in news
        assert JobState.NEW not in news


def test_every_state_can_be_reached_and_every_job_can_end() -> None:
    """No state is out of reach of a new job, and from each there is a way to an end."""
    assert reachable(JobState.NEW) == set(JobState)
    for state in JobState:
        assert reachable(state) & FINAL


def test_ends_are_ends() -> None:
    """Exactly the final states have no way out."""
    assert {state for state, news in MOVES.items() if not news} == FINAL


def test_a_job_the_service_has_never_uploads_again() -> None:
    """From `processing` on nothing leads back to sending bytes: a paid job is not paid twice."""
    assert reachable(JobState.PROCESSING) == FINAL | {JobState.PROCESSING}


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL))
def test_every_unfinished_job_can_be_given_up(state: JobState) -> None:
    """`cancel` is possible at any time before the end."""
    assert may_move(state, JobState.CANCELLED)


@pytest.mark.parametrize(
    ("state", "wire", "stage"),
    [
        (JobState.NEW, None, Stage.PREPARE),
        (JobState.PREPARING, None, Stage.PREPARE),
        (JobState.UPLOADING, WireName.TUS, Stage.UPLOAD),
        (JobState.UPLOADING, WireName.SINGLE, Stage.UPLOAD),
        (JobState.SUBMITTING, WireName.TUS, Stage.SUBMIT),
        (JobState.SUBMITTING, WireName.SINGLE, Stage.ASK_A_PERSON),
        (JobState.AMBIGUOUS, WireName.SINGLE, Stage.ASK_A_PERSON),
        (JobState.PROCESSING, WireName.TUS, Stage.POLL),
        (JobState.PROCESSING, WireName.SINGLE, Stage.POLL),
        (JobState.COMPLETED, WireName.TUS, Stage.NOTHING),
        (JobState.FAILED, None, Stage.NOTHING),
        (JobState.CANCELLED, None, Stage.NOTHING),
    ],
)
def test_what_comes_next_is_told_from_durable_facts(state: JobState, wire: WireName | None, stage: Stage) -> None:
    """After a kill the state and the wire alone say how to go on; a single request in doubt asks a person."""
    assert next_stage(replace(JOB, state=state, wire=wire)) is stage


def test_a_delivery_ends_with_its_last_byte() -> None:
    """Only a transcription has something to submit."""
    assert after_upload(JobKind.DELIVERY) is JobState.COMPLETED
    assert after_upload(JobKind.TRANSCRIPTION) is JobState.SUBMITTING

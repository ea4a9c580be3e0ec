"""A job's way from recording to transcript: its states, their legal moves, and what comes next.

Theory of operation. A job only moves along `MOVES`; the manifest refuses anything else. A move is committed
before anyone is told of it, so after a kill the state says exactly what may already have happened:

* `new`, `preparing`: nothing has left this machine.
* `uploading`: bytes may have left; they create no job.
* `submitting`: the call that creates the job may have been made. By reference it is repeated until answered, as the
  key and the upload make it idempotent. With the single request it must not be repeated unasked: the job is
  `ambiguous`.
* `processing`: the service has answered with its id. Nothing but polling remains.
* `completed`, `failed`, `cancelled`: the end. `failed` and `cancelled` keep the reason.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from ..errors import InternalError
from ..model import AS_IS, JobKind, JobState, WireName

if TYPE_CHECKING:
    from ..model import ArtifactRecord, JobRecord, Plan

_S = JobState

MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    _S.NEW: frozenset({_S.PREPARING, _S.FAILED, _S.CANCELLED}),
    _S.PREPARING: frozenset({_S.UPLOADING, _S.FAILED, _S.CANCELLED}),
    # back to preparing: the prepared artifact was lost before it was all sent
    _S.UPLOADING: frozenset({_S.PREPARING, _S.SUBMITTING, _S.PROCESSING, _S.COMPLETED, _S.FAILED, _S.CANCELLED}),
    # back to uploading: the server lost the upload or holds other bytes, or no final byte had left after all
    _S.SUBMITTING: frozenset({_S.UPLOADING, _S.PROCESSING, _S.AMBIGUOUS, _S.FAILED, _S.CANCELLED}),
    _S.AMBIGUOUS: frozenset({_S.UPLOADING, _S.CANCELLED}),
    _S.PROCESSING: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED}),
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}

FINAL: Final = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})
UNSUBMITTED: Final = frozenset({_S.NEW, _S.PREPARING, _S.UPLOADING})


class Stage(Enum):
    """What has to be done next for a job."""

    PREPARE = auto()
    UPLOAD = auto()
    SUBMIT = auto()
    ASK_A_PERSON = auto()
    POLL = auto()
    NOTHING = auto()


def may_move(old: JobState, new: JobState) -> bool:
    """Whether the move is legal."""
    return new in MOVES[old]


def next_stage(job: JobRecord) -> Stage:
    """The stage a job is at, told from durable facts alone."""
    match job.state:
        case JobState.NEW | JobState.PREPARING:
            return Stage.PREPARE
        case JobState.UPLOADING:
            return Stage.UPLOAD
        case JobState.SUBMITTING:
            return Stage.ASK_A_PERSON if job.wire is WireName.SINGLE else Stage.SUBMIT
        case JobState.AMBIGUOUS:
            return Stage.ASK_A_PERSON
        case JobState.PROCESSING:
            return Stage.POLL
        case JobState.COMPLETED | JobState.FAILED | JobState.CANCELLED:
            return Stage.NOTHING


def artifact_of(job: JobRecord) -> ArtifactRecord:
    """The artifact that a job has from `uploading` on.

    Raises:
        InternalError: it has none.
    """
    if job.artifact is None:
        raise InternalError(f"job {job.id} is {job.state} and has no artifact")
    return job.artifact


def encodes(artifact: ArtifactRecord) -> bool:
    """Whether the artifact is still being made by an encoder of ours."""
    return artifact.growing and artifact.recipe != AS_IS


def plan_of(job: JobRecord) -> Plan:
    """The plan that a job has once its upload has begun.

    Raises:
        InternalError: it has none.
    """
    if job.plan is None:
        raise InternalError(f"job {job.id} is {job.state} and has no plan")
    return job.plan


def after_upload(kind: JobKind) -> JobState:
    """Where a job goes when all its bytes are acknowledged."""
    return JobState.COMPLETED if kind is JobKind.DELIVERY else JobState.SUBMITTING

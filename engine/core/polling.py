"""How often to ask for a job's status, and what an answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import JobFailed, UnexpectedReply

if TYPE_CHECKING:
    from ..model import JobStatus

SHORTEST_S: Final = 5.0  # the service's documented limit per id
LONGEST_S: Final = 30.0  # a result that waits half a minute is no loss after an hour's wait
SHARE_OF_WAIT: Final = 0.05  # late by at most 5 % of the time waited so far


def interval_s(waited_s: float) -> float:
    """Seconds until the next call, after having waited so long already."""
    return min(max(waited_s * SHARE_OF_WAIT, SHORTEST_S), LONGEST_S)


def outcome(answer: JobStatus) -> str | None:
    """The transcription, or None while the service is at work.

    Raises:
        JobFailed: the service gave up on the recording.
        UnexpectedReply: a status that is not documented, or a completed job without a text.
    """
    match answer.status:
        case "processing":
            return None
        case "completed" if answer.transcription is not None:
            return answer.transcription
        case "completed":
            raise UnexpectedReply(
                f"The service calls job {answer.processing_id} completed and sends no transcription",
                hint=f"ask again later: `speechstream wait {answer.processing_id}`",
            )
        case "failed":
            raise JobFailed(
                f"The service could not transcribe job {answer.processing_id}: {answer.message or 'no reason given'}",
                hint="to send it once more as a new job: `speechstream transcribe --new` with the recording",
            )
        case unknown:
            said = f" ({answer.message})" if answer.message else ""
            raise UnexpectedReply(
                f"The service says {unknown!r} of job {answer.processing_id}{said}, which is not a status it documents",
                hint=f"ask again later: `speechstream wait {answer.processing_id}`",
            )

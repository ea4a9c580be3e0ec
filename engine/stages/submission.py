"""From a whole upload to its processing_id, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import JobState, Proof
from ..runtime.submission import Lost, submit
from ..runtime.upload import ambiguous
from ..submitting import relapse, submission_of
from .attempt import RELAPSE_PAUSE_S

if TYPE_CHECKING:
    from ..model import JobRecord
    from .attempt import Attempt


async def hand_in(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Submit the upload, or go back to uploading what the server lacks of it.

    Raises:
        SpeechStreamError: the server will not have it.
    """
    base_url, turns, persistence = await attempt.base_url(job), await attempt.turns(job), attempt.persistence(job)
    submission = await submission_of(job, attempt.manifest, base_url, attempt.open)
    try:
        answer = await submit(base_url, submission, attempt.crew.exchanger, turns, persistence)
    finally:
        attempt.manifest.add_to_tally(job.id, persistence.cost)
    if isinstance(answer, Lost):
        attempt.relapses += 1
        await attempt.crew.clock.sleep(RELAPSE_PAUSE_S)
        return relapse(job, answer, attempt.relapses, attempt.manifest, attempt.emit)
    job = attempt.manifest.move(
        job.id,
        JobState.PROCESSING,
        processing_id=answer,
        proof=Proof.VERIFIED,  # whoever takes a submission has compared its digests with the bytes
        uploaded_at=attempt.crew.clock.wall(),
    )
    return attempt.submitted(job, answer)


def ask_a_person(job: JobRecord, attempt: Attempt) -> JobRecord:
    """A single request may have made a job: only a person can say whether to repeat it.

    Raises:
        AmbiguousUpload: nobody has said so.
    """
    if job.state is not JobState.AMBIGUOUS:
        job = attempt.manifest.move(job.id, JobState.AMBIGUOUS, failure="it was cut off before the answer came")
    if not attempt.wishes.repeat_ambiguous:
        raise ambiguous(job.id, job.failure or "no answer came")
    return attempt.manifest.move(job.id, JobState.UPLOADING)

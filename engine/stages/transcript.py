"""From a processing_id to the transcript."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InternalError, JobFailed
from ..model import JobState
from ..runtime.polling import until_done

if TYPE_CHECKING:
    from ..model import JobRecord
    from .attempt import Attempt


async def await_transcript(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Ask for the transcript until it is there.

    Raises:
        JobFailed: the service could not make one.
    """
    if job.processing_id is None:
        raise InternalError(f"job {job.id} is processing and has no processing_id")
    base_url, turns = await attempt.base_url(job), await attempt.turns(job)
    try:
        text = await until_done(base_url, job.processing_id, attempt.crew.exchanger, turns, attempt.persistence(job))
    except JobFailed as error:
        attempt.manifest.move(job.id, JobState.FAILED, failure=error.message)
        raise
    now = attempt.crew.clock.wall()
    return attempt.manifest.move(job.id, JobState.COMPLETED, transcription=text, completed_at=now)

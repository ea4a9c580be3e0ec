"""From a job to the bytes worth sending: the artifact is chosen, and begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import preparing
from ..errors import RecordingError
from ..events import Warned
from ..identity import growing_artifact, grows, identify
from ..model import JobState
from .attempt import CHANGED, HOPELESS, MAX_REVISIONS, RELAPSE_PAUSE_S

if TYPE_CHECKING:
    from ..model import JobRecord
    from .attempt import Attempt


async def prepare(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Find out what is to be sent, and begin to make it.

    Raises:
        RecordingError: nothing can be made of it.
    """
    manifest = attempt.manifest
    if job.state is JobState.NEW:
        job = manifest.move(job.id, JobState.PREPARING)
    if grows(job):
        artifact, reason = growing_artifact(job)
        return manifest.move(job.id, JobState.UPLOADING, artifact=artifact, decision=reason)
    now = await identify(Path(job.source))
    if now != job.identity:
        from ..revising import prepare_anew

        job = await prepare_anew(job, now, attempt.crew, None)
    try:
        artifact, reason = await preparing.begin(job, attempt.emit)
    except preparing.Unpreparable as failure:
        return send_original(job, failure, attempt)
    except RecordingError as error:
        attempt.revisions += error.reason in CHANGED
        if error.reason in CHANGED and attempt.revisions <= MAX_REVISIONS:
            await attempt.crew.clock.sleep(RELAPSE_PAUSE_S)
            return job
        if error.reason in HOPELESS:
            manifest.move(job.id, JobState.FAILED, failure=error.message)
        raise
    return manifest.move(job.id, JobState.UPLOADING, artifact=artifact, decision=reason)


def send_original(job: JobRecord, failure: preparing.Unpreparable, attempt: Attempt) -> JobRecord:
    """What cannot be prepared goes as it is, unless that is not wanted.

    Raises:
        SpeechStreamError: it is not wanted.
    """
    if not attempt.wishes.fallback:
        raise failure.error from failure
    attempt.emit(Warned(job.id, failure.reason))
    artifact = preparing.original(job)
    return attempt.manifest.move(job.id, JobState.UPLOADING, artifact=artifact, decision=failure.reason)

"""What becomes of an upload under way whose artifact turned out to be worth nothing, or another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.job import artifact_of, encodes
from ..events import Warned
from ..identity import require_repeatable
from ..model import JobState, WireName
from ..revising import farewell, revise_upload
from .attempt import MAX_REVISIONS, RELAPSE_PAUSE_S
from .preparation import send_original

if TYPE_CHECKING:
    from ..errors import RecordingError
    from ..model import JobRecord
    from ..preparing import Unpreparable
    from .attempt import Attempt


async def send_original_instead(job: JobRecord, failure: Unpreparable, attempt: Attempt) -> JobRecord:
    """Send the original after bytes of what was being prepared have left: they go from the server; the key stays.

    Raises:
        SpeechStreamError: that is not wanted.
    """
    if not attempt.wishes.fallback:
        raise failure.error from failure
    return send_original(await _drop_artifact(attempt.manifest.job(job.id), attempt), failure, attempt)


async def take_as_it_is_now(job: JobRecord, error: RecordingError, attempt: Attempt) -> JobRecord:
    """The recording is no longer what it was. Where it is sent as it is, what still holds is kept.

    Raises:
        RecordingError: it keeps changing, or was sent as it grew.
    """
    attempt.revisions += 1
    job = attempt.manifest.job(job.id)
    artifact = artifact_of(job)
    sent_as_it_grows = artifact.growing and not encodes(artifact)
    if sent_as_it_grows or job.state is not JobState.UPLOADING or attempt.revisions > MAX_REVISIONS:
        raise error
    await attempt.crew.clock.sleep(RELAPSE_PAUSE_S)
    if not artifact.is_source:
        require_repeatable(job)
        attempt.emit(Warned(job.id, "the prepared artifact is no longer what it was; it is made and sent again"))
        return await _drop_artifact(job, attempt)
    return await revise_upload(job, attempt.crew, await attempt.base_url(job))


async def _drop_artifact(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Back to preparing; what was sent of the artifact goes from the server."""
    lanes = attempt.manifest.lanes(job)
    again = attempt.manifest.prepare_again(job.id)
    if job.wire is WireName.TUS:
        await farewell(lanes, attempt.crew, await attempt.base_url(job))
    return again

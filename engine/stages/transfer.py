"""The artifact's way to the server, and what follows when it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .. import preparing
from ..core.job import after_upload, artifact_of, encodes
from ..errors import KeyRejected, RecordingChanged, RecordingError, UploadRefused
from ..events import Warned
from ..identity import is_as_sealed, require_repeatable, require_unchanged
from ..model import JobKind, JobState
from ..runtime.artifact import is_whole
from ..uploading import Uploading
from ..wire.address import with_path
from .attempt import CHANGED, HOPELESS

if TYPE_CHECKING:
    from ..model import ArtifactRecord, JobRecord
    from ..runtime.persist import Persistence
    from .attempt import Attempt

_BAD_DISK: Final = "the recording is untouched; choose a sound disk with SPEECHSTREAM_STATE_DIR"


async def transfer(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Bring the artifact to the server; go back to preparing where it is gone, worth nothing, or another one.

    Raises:
        SpeechStreamError: it cannot be gone on from; all that was acknowledged is kept.
    """
    artifact = artifact_of(job)
    if not _is_here(artifact, attempt):
        require_repeatable(job)
        attempt.emit(Warned(job.id, "the prepared artifact is no longer here; it is made and sent again"))
        return attempt.manifest.prepare_again(job.id)
    try:
        return await _bring(job, attempt)
    except preparing.Unpreparable as failure:
        from .setback import send_original_instead

        return await send_original_instead(job, failure, attempt)
    except RecordingError as error:
        if error.reason in HOPELESS and encodes(artifact):
            attempt.manifest.move(job.id, JobState.FAILED, failure=error.message)
        if error.reason in CHANGED:
            from .setback import take_as_it_is_now

            return await take_as_it_is_now(job, error, attempt)
        if error.reason == "Empty":  # a pipe that nothing came through
            attempt.manifest.move(job.id, JobState.FAILED, failure=error.message)
        raise


async def _bring(job: JobRecord, attempt: Attempt) -> JobRecord:
    persistence = attempt.persistence(job)
    manifest = attempt.manifest
    try:
        processing_id = await _carry(job, attempt, persistence)
    except KeyRejected as error:
        raise _for_delivery(error, job) from error
    except UploadRefused:
        manifest.offers.forget(with_path(await attempt.base_url(job), "uploads"))  # it may offer less now
        raise
    finally:
        manifest.add_to_tally(job.id, persistence.cost)
    job = manifest.job(job.id)
    if processing_id is not None:
        return attempt.submitted(job, processing_id)
    if job.kind is JobKind.DELIVERY:
        from .delivery import deliver

        return await deliver(job, attempt)
    artifact = artifact_of(job)
    if not artifact.is_source and not await is_as_sealed(job, attempt.spool / artifact.path):
        raise RecordingChanged(f"The prepared artifact of job {job.id} changes on its disk", hint=_BAD_DISK)
    return manifest.move(job.id, after_upload(job.kind))


async def _carry(job: JobRecord, attempt: Attempt, persistence: Persistence) -> str | None:
    """Bring the artifact to the server. A wire whose last reply makes the job gives its processing_id."""
    artifact = artifact_of(job)
    uploading = Uploading(
        job=job,
        artifact=artifact,
        base_url=await attempt.base_url(job),
        manner=attempt.wishes.manner,
        crew=attempt.crew,
        turns=await attempt.turns(job),
        persistence=persistence,
        open_artifact=attempt.open,
    )
    if artifact.growing:
        from .growing import carry_while_it_grows

        return await carry_while_it_grows(uploading, attempt)
    if artifact.is_source:
        await require_unchanged(job)
    return await uploading.carry()


def _is_here(artifact: ArtifactRecord, attempt: Attempt) -> bool:
    if artifact.is_source or artifact.growing:
        return True
    return is_whole(attempt.spool / artifact.path, artifact.size_bytes)


def _for_delivery(error: KeyRejected, job: JobRecord) -> KeyRejected:
    if job.kind is not JobKind.DELIVERY:
        return error
    return KeyRejected(
        f"The server did not accept the request's credentials: {error.__cause__ or error}",
        hint="nothing is lost; repeat the same `speechstream send` with a valid `--header 'Authorization: …'`",
    )

"""From a complete upload to its submission, and back to what it lacks when the server will not make a job of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from .core.job import artifact_of, plan_of
from .errors import DigestMismatch, InternalError, ServiceError
from .events import Warned
from .model import JobState
from .runtime.artifact import PartHasher, digest_of_parts
from .runtime.submission import Why
from .wire.address import resolve
from .wire.service import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Event
    from .model import JobRecord
    from .redaction import Secret
    from .runtime.artifact import ArtifactFile
    from .runtime.manifest import Manifest
    from .runtime.submission import Lost

MAX_RELAPSES: Final = 3  # submissions that send a job back to uploading, before it is the server's doing


def uploaded_as(job: JobRecord, manifest: Manifest, base_url: str) -> Secret:
    """The address of the whole upload: the one that joins the lanes, or the only lane's."""
    job = manifest.job(job.id)
    url = job.joined_url or manifest.lanes(job)[0].url
    if url is None:
        raise InternalError(f"job {job.id} is uploaded and has no upload")
    return resolve(base_url, url.reveal())


async def all_digests(
    job: JobRecord, manifest: Manifest, open_artifact: Callable[[JobRecord], ArtifactFile]
) -> tuple[bytes, ...]:
    """The digests of all parts; the artifact is only needed for those that a kill took away.

    Raises:
        RecordingError: the disk does not give them.
        RecordingChanged: the file is no longer what was sent.
    """
    plan, known = plan_of(job), manifest.digests(job.id)
    if len(known) == plan.part_count:
        return tuple(known[index] for index in range(plan.part_count))
    with open_artifact(job) as file:
        file.check()
        hasher = PartHasher(file, plan, known)
        digests = await hasher.complete()
    manifest.save_digests(job.id, hasher.taken())
    return digests


async def submission_of(
    job: JobRecord, manifest: Manifest, base_url: str, open_artifact: Callable[[JobRecord], ArtifactFile]
) -> Submission:
    """All that the service is told to make a job of the upload.

    Raises:
        RecordingError: as `all_digests`.
    """
    artifact, digests = artifact_of(job), await all_digests(job, manifest, open_artifact)
    return Submission(
        upload=uploaded_as(job, manifest, base_url),
        size_bytes=artifact.size_bytes,
        filename=artifact.filename,
        part_size_bytes=plan_of(job).part_size_bytes,
        digest=digest_of_parts(digests),
        parts=digests,
        idempotency_key=job.idempotency_key,
    )


def relapse(job: JobRecord, lost: Lost, times: int, manifest: Manifest, emit: Callable[[Event], None]) -> JobRecord:
    """The server will not make a job of the upload as it is: go back and bring it what it lacks.

    `times` counts the relapses of this run, with this one.

    Raises:
        ServiceError: it says so again and again.
    """
    if times > MAX_RELAPSES:
        raise _hopeless(lost, times)
    lanes = manifest.lanes(job)
    again, warning = [], "the server says that the upload is not complete; it is asked where it stands"
    match lost.why:
        case Why.GONE if lanes[0].partial:  # its lanes may well be there still
            warning = "the server no longer has the joined upload; its lanes are joined again"
        case Why.GONE:
            again, warning = lanes, "the server no longer has the upload; it is sent again"
        case Why.DIFFERENT:
            again = [lane for lane in lanes if not lost.parts or lost.touches(plan_of(job), lane.span)]
            damaged = sum(lane.span.size_bytes for lane in again)
            warning = f"the server holds other bytes than were sent; {damaged} bytes go again"
        case Why.INCOMPLETE:
            for lane in lanes:
                if not lane.partial:  # those are asked when they cannot be joined again
                    manifest.save_lane(job.id, replace(lane, acked_bytes=0))
    emit(Warned(job.id, warning))
    for lane in again:
        manifest.save_lane(job.id, replace(lane, created=False, acked_bytes=0, offered_bytes=0))
    return manifest.move(job.id, JobState.UPLOADING, joined_url=None, join_count=job.join_count + 1)


def _hopeless(lost: Lost, times: int) -> ServiceError:
    if lost.why is Why.DIFFERENT:
        return DigestMismatch(
            f"The server's bytes still differ from ours after they were sent {times} times",
            hint="something on the way damages data; try another network, then `speechstream resume`",
        )
    return ServiceError(
        "The server says that the upload is complete, and that it is not, again and again",
        hint="nothing is lost; ask the service's operator, then `speechstream resume`",
    )

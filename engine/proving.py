"""Proves what lies on the disk against what was sent, and writes the receipt that lets others do so.

Reads only: it may run while the job's owner is at work.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from .core.plan import make_plan
from .core.proof import Comparison, Verdict
from .core.receipt import Content, Times, WrittenReceipt
from .errors import RecordingError, UserError
from .identity import identify, require_unchanged
from .model import JobKind, JobState, Plan, Proof, Span
from .runtime.artifact import digest_of_parts
from .runtime.proving import Reading, compare, part_digests, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Event
    from .model import ArtifactRecord, JobRecord
    from .runtime.manifest import Manifest

RECORDING = "recording"
ARTIFACT = "artifact"
_BEFORE_IT_IS_SENT = frozenset(
    {JobState.NEW, JobState.PREPARING, JobState.UPLOADING, JobState.SUBMITTING, JobState.AMBIGUOUS}
)


async def verify_job(manifest: Manifest, job: JobRecord, emit: Callable[[Event], None]) -> list[Comparison]:
    """The recording, and the prepared artifact where there is one, against the manifest.

    The bytes that were sent are proved by their parts' digests. A recording that was prepared is proved by its
    identity: size, and a fingerprint of head, tail and samples.

    Raises:
        RecordingError: the disk does not give what is there.
    """
    artifact = job.artifact
    if artifact is not None and artifact.is_source:
        return [await _against_parts(RECORDING, Path(artifact.path), manifest, job, emit)]
    sides = [await _against_identity(job)]
    if artifact is not None:
        sides.append(await _against_parts(ARTIFACT, manifest.spool(job.id) / artifact.path, manifest, job, emit))
    return sides


async def verify_file(receipt: WrittenReceipt, path: Path, emit: Callable[[Event], None]) -> Comparison:
    """A file against a receipt, without service or manifest: as the artifact if it has its size, else as the recording.

    Raises:
        RecordingError: the disk does not give it.
    """
    size_bytes = size_of(path)
    side, content = RECORDING, receipt.recording
    if content is None or (content != receipt.artifact and size_bytes == receipt.artifact.size_bytes):
        side, content = ARTIFACT, receipt.artifact
    plan = Plan(content.part_size_bytes, content.size_bytes, (Span(0, content.size_bytes),))
    meter = Reading(receipt.job_id, content.size_bytes, emit)
    expected = dict(enumerate(content.parts))
    return await anyio.to_thread.run_sync(partial(compare, side, path, plan, expected, meter))


async def make_receipt(
    manifest: Manifest, job: JobRecord, now: float, emit: Callable[[Event], None]
) -> tuple[WrittenReceipt, str | None]:
    """The receipt of a job whose bytes were taken, and what it cannot say.

    Digests that a kill took away, and those of a recording that was prepared, are made from the disk, where it still
    is what it was.

    Raises:
        UserError: the job has not been sent.
        RecordingError: digests are missing, and what they were of has changed or gone.
    """
    artifact, plan = job.artifact, job.plan
    if artifact is None or plan is None or job.state in _BEFORE_IT_IS_SENT or not _was_taken(job):
        raise UserError(
            f"Job {job.id} is {job.state}, and nothing of it has been taken by a server as a whole",
            hint=f"`speechstream resume {job.id}` first; `speechstream show {job.id}` tells more",
        )
    sent = await _sent_content(manifest, job, artifact, plan, emit)
    recording, missing = (sent, None) if artifact.is_source else await _recording_content(job, emit)
    times = Times(
        made_at=job.created_at,
        uploaded_at=job.uploaded_at,
        completed_at=job.completed_at,
        written_at=now,
    )
    receipt = WrittenReceipt(
        job_id=job.id,
        kind=str(job.kind),
        state=str(job.state),
        processing_id=job.processing_id,
        endpoint=job.endpoint,
        recipe=artifact.recipe,
        proof=str(job.proof or Proof.LENGTH),
        times=times,
        artifact=sent,
        recording=recording,
    )
    return receipt, missing


def _was_taken(job: JobRecord) -> bool:
    if job.kind is JobKind.DELIVERY:
        return job.state is JobState.COMPLETED
    return job.processing_id is not None


async def _against_parts(
    side: str, path: Path, manifest: Manifest, job: JobRecord, emit: Callable[[Event], None]
) -> Comparison:
    artifact = job.artifact
    size_bytes = job.identity.size_bytes if artifact is None else artifact.size_bytes
    plan = job.plan or make_plan(size_bytes)
    expected = manifest.digests(job.id)
    if side == RECORDING and not expected:
        return await _against_identity(job)
    meter = Reading(job.id, sum(plan.part(index).size_bytes for index in expected), emit)
    return await anyio.to_thread.run_sync(partial(compare, side, path, plan, expected, meter))


async def _against_identity(job: JobRecord) -> Comparison:
    path, then = Path(job.source), job.identity
    size_bytes = size_of(path)
    if size_bytes is None:
        return Comparison(RECORDING, job.source, Verdict.GONE, then.size_bytes, None)
    if size_bytes != then.size_bytes:
        return Comparison(RECORDING, job.source, Verdict.CHANGED, then.size_bytes, size_bytes)
    now = await identify(path)
    if now.fingerprint != then.fingerprint:
        remark = "the same size, and other bytes at its head, its tail or between"
        return Comparison(RECORDING, job.source, Verdict.CHANGED, then.size_bytes, size_bytes, remark=remark)
    touched = now.mtime_ns != then.mtime_ns
    remark = "told by size and fingerprint" + ("; it was written to since, to no effect" if touched else "")
    return Comparison(RECORDING, job.source, Verdict.EQUAL, then.size_bytes, size_bytes, remark=remark)


async def _sent_content(
    manifest: Manifest, job: JobRecord, artifact: ArtifactRecord, plan: Plan, emit: Callable[[Event], None]
) -> Content:
    digests = manifest.digests(job.id)
    missing = [index for index in range(plan.part_count) if index not in digests]
    if missing:
        if artifact.is_source:
            await require_unchanged(job)
        path = Path(artifact.path) if artifact.is_source else manifest.spool(job.id) / artifact.path
        digests |= await _hashed(path, plan, missing, Reading(job.id, plan.total_bytes, emit))
        if artifact.is_source:
            await require_unchanged(job)
    parts = tuple(digests[index] for index in range(plan.part_count))
    return Content(artifact.filename, plan.total_bytes, plan.part_size_bytes, digest_of_parts(parts), parts)


async def _recording_content(job: JobRecord, emit: Callable[[Event], None]) -> tuple[Content | None, str | None]:
    """The recording's parts, hashed now; None and why where it is no longer what was prepared."""
    path, plan = Path(job.source), make_plan(job.identity.size_bytes)
    try:
        await require_unchanged(job)
        digests = await _hashed(path, plan, range(plan.part_count), Reading(job.id, plan.total_bytes, emit))
        await require_unchanged(job)
    except RecordingError as error:
        return None, f"the receipt cannot speak for the recording, only for what was sent: {error.message}"
    parts = tuple(digests[index] for index in range(plan.part_count))
    return Content(path.name, plan.total_bytes, plan.part_size_bytes, digest_of_parts(parts), parts), None


async def _hashed(path: Path, plan: Plan, wanted: list[int] | range, meter: Reading) -> dict[int, bytes]:
    found: dict[int, bytes] = await anyio.to_thread.run_sync(lambda: dict(part_digests(path, plan, wanted, meter)))
    if len(found) < len(wanted):
        raise RecordingError(f"{path} is shorter than what was sent", reason="Changed")
    return found

"""Brings a job that has not been submitted up to its recording as it is now; what still holds is kept."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from .core.revision import Revision, revise
from .errors import RecordingChanged
from .events import Warned
from .faults import Fault
from .identity import identify
from .model import JobKind, JobState, WireName
from .runtime.proving import Reading, part_digests
from .wire import tus
from .wire.address import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .model import JobRecord, Lane, SourceIdentity
    from .runtime.crew import Crew

_FAREWELL_S: Final = 5.0  # what is left on the server expires anyway


def require_not_shorter(job: JobRecord, now: SourceIdentity) -> None:
    """Make sure that nothing of what was sent or prepared is missing from the recording.

    Raises:
        RecordingChanged: it is shorter than it was: a truncated copy is more likely than a wish.
    """
    before, artifact = job.identity.size_bytes, job.artifact
    if artifact is None or now.size_bytes >= before:
        return
    kept = "" if artifact.is_source else f"; `speechstream resume {job.id}` sends what was prepared of all of it"
    raise RecordingChanged(
        f"{job.source!r} has become shorter: {before} bytes when job {job.id} began, {now.size_bytes} now",
        hint=f"put the whole recording back and run the same command; to send it as it is now, add `--new`{kept}",
    )


async def revise_upload(job: JobRecord, crew: Crew, base_url: str) -> JobRecord:
    """Take the changed recording of an `as-is` job as it is now. Lanes none of whose bytes changed stay.

    What was committed of the parts is read again; lanes that must begin anew are removed from the server, if that can
    be had.

    Raises:
        RecordingChanged: the recording has become shorter.
        RecordingError: it is gone, or cannot be read.
    """
    manifest, before = crew.manifest, job.identity
    now = await identify(Path(job.source))
    require_not_shorter(job, now)
    lanes = manifest.lanes(job)
    revision = await _revision(job, lanes, now, crew)
    if revision is None:
        revised, dropped = manifest.revise(job.id, now, None), lanes
    else:
        revised, dropped = manifest.revise(job.id, now, revision.lanes, revision.forgotten), list(revision.dropped)
    sent, lost = (sum(lane.acked_bytes for lane in some) for some in (lanes, dropped))
    more = f" and is {now.size_bytes - before.size_bytes} bytes longer" if now.size_bytes > before.size_bytes else ""
    crew.emit(Warned(job.id, f"the recording changed since {_moment(job)}{more}; of {sent} bytes sent {lost} go again"))
    if job.wire is WireName.TUS:
        await farewell(dropped, crew, base_url)
    return revised


async def prepare_anew(job: JobRecord, now: SourceIdentity, crew: Crew, base_url: str | None) -> JobRecord:
    """Take the changed recording of a job that prepares it. Unless it was only touched, the artifact is made again."""
    manifest, then = crew.manifest, job.identity
    same = (now.size_bytes, now.fingerprint) == (then.size_bytes, then.fingerprint)
    if same or job.state is not JobState.UPLOADING:
        if not same:
            crew.emit(Warned(job.id, f"the recording changed since {_moment(job)}; it is prepared as it is now"))
        return manifest.reidentify(job.id, now)
    lanes = manifest.lanes(job)
    crew.emit(Warned(job.id, f"the recording changed since {_moment(job)}; it is prepared and sent again"))
    manifest.reidentify(job.id, now)
    revised = manifest.prepare_again(job.id)
    if job.wire is WireName.TUS and base_url is not None:
        await farewell(lanes, crew, base_url)
    return revised


async def _revision(job: JobRecord, lanes: list[Lane], now: SourceIdentity, crew: Crew) -> Revision | None:
    """What becomes of the lanes; None where planning anew loses nothing that could be kept."""
    plan = job.plan
    if plan is None or not lanes or job.wire is not WireName.TUS:
        return None
    if now.size_bytes > plan.total_bytes and not lanes[0].partial:
        return None
    known = crew.manifest.digests(job.id)
    reading = Reading(job.id, sum(plan.part(index).size_bytes for index in known), crew.emit)
    path = Path(job.source)
    found = await anyio.to_thread.run_sync(lambda: dict(part_digests(path, plan, sorted(known), reading)))
    changed = {index for index, digest in known.items() if found.get(index) != digest}
    judged_later = job.kind is JobKind.TRANSCRIPTION
    return revise(plan, lanes, known, changed, now.size_bytes, judged_later=judged_later)


async def farewell(lanes: Iterable[Lane], crew: Crew, base_url: str) -> None:
    """Remove what is of no more use from the server, without insisting."""
    with anyio.move_on_after(_FAREWELL_S):
        for lane in lanes:
            if lane.url is not None:
                with contextlib.suppress(Fault):
                    await crew.exchanger.converse(tus.terminate(resolve(base_url, lane.url.reveal())))


def _moment(job: JobRecord) -> str:
    return datetime.fromtimestamp(job.updated_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")

"""Recordings that are still being written while they are uploaded: a pipe is spooled, a growing file is followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from msgspec.structs import replace

from .errors import InternalError, RecordingError
from .events import Sealed, Warned
from .identity import identify
from .runtime.artifact import ArtifactFile, changed_parts
from .runtime.growing import follow, make_spool, spool
from .runtime.supply import Growth, Source

if TYPE_CHECKING:
    from .errors import SpeechStreamError
    from .model import ArtifactRecord, JobRecord, SourceIdentity
    from .runtime.crew import Crew


@dataclass(slots=True, eq=False, repr=False)
class Intake:
    """One growing recording on its way to being a sealed artifact at `path`. `run` it beside the upload."""

    job: JobRecord
    artifact: ArtifactRecord
    path: Path
    source: Source
    crew: Crew
    growth: Growth = field(init=False)

    def __post_init__(self) -> None:
        self.growth = Growth(self.crew.clock)

    async def run(self) -> None:
        """Let it grow until it ends.

        Raises:
            RecordingError: it cannot be read, shrank, or nothing came.
            OutputError: there is no room for it.
        """
        if self.artifact.is_source:
            total = await self._follow()
        else:
            total = await self._spool()
            self._seal(replace(self.job.identity, size_bytes=total))
        self.growth.reached(total)
        self.growth.end()

    async def end(self) -> JobRecord:
        """Wait for the end, and commit it. What a recorder wrote into bytes that had left already goes again."""
        await self.growth.wait_for_end()
        if self.artifact.is_source:
            identity = await identify(self.path)
            await self._take_back_what_changed(identity.size_bytes)
            self._seal(identity)
        return self.crew.manifest.job(self.job.id)

    async def outlast(self, error: SpeechStreamError) -> None:
        """The upload has failed: what still comes through a pipe cannot be had again, so it is kept all the same."""
        if not self.artifact.is_source and not self.growth.ended:
            message = f"{error.message}; what comes in is still kept, and sent by `speechstream resume {self.job.id}`"
            self.crew.emit(Warned(self.job.id, message))
            await self.growth.wait_for_end()

    async def ready(self) -> None:
        """Make the place for what comes through a pipe.

        Raises:
            OutputError: it cannot be made.
        """
        if not self.artifact.is_source:
            make_spool(self.path)

    def open(self) -> ArtifactFile:
        """The artifact as it grows."""
        return ArtifactFile(self.path, 0, growing=True)

    async def _spool(self) -> int:
        if self.source.descriptor is not None:
            total = await spool(self.growth, self.source.descriptor, self.path)
        else:
            total = self.path.stat().st_size
            message = f"the pipe broke off; the {total} bytes that had come in are the recording now"
            self.crew.emit(Warned(self.job.id, message))
        if not total:
            raise RecordingError("Nothing came in on standard input", reason="Empty")
        return total

    async def _follow(self) -> int:
        while True:
            total = await follow(self.growth, self.path, self.source.idle_s, self.crew.clock)
            if (await identify(self.path)).size_bytes == total:
                return total

    def _seal(self, identity: SourceIdentity) -> None:
        artifact = replace(self.artifact, size_bytes=identity.size_bytes, growing=False)
        self.crew.manifest.note(
            self.job.id,
            artifact=artifact,
            size_bytes=identity.size_bytes,
            mtime_ns=identity.mtime_ns,
            fingerprint=identity.fingerprint,
        )
        self.crew.emit(Sealed(self.job.id, identity.size_bytes, identity.size_bytes))

    async def _take_back_what_changed(self, total_bytes: int) -> None:
        manifest = self.crew.manifest
        plan, known = manifest.job(self.job.id).plan, manifest.digests(self.job.id)
        if plan is None or not known:
            return
        plan = replace(plan, total_bytes=total_bytes)
        with self.open() as file:
            changed = await anyio.to_thread.run_sync(partial(changed_parts, file, plan, known))
        if not changed:
            return
        lanes = [lane for lane in manifest.lanes(self.job) if not set(changed).isdisjoint(plan.parts_within(lane.span))]
        manifest.begin_again(self.job.id, lanes, changed)
        size_bytes = sum(min(lane.span.stop, total_bytes) - lane.span.start for lane in lanes)
        message = f"the recorder rewrote what it had written before; {size_bytes} bytes go again"
        self.crew.emit(Warned(self.job.id, message))


def intake_of(job: JobRecord, artifact: ArtifactRecord, spool_folder: Path, source: Source, crew: Crew) -> Intake:
    """The intake of a job whose artifact is still growing.

    Raises:
        InternalError: it is not.
    """
    if not artifact.growing:
        raise InternalError(f"the artifact of job {job.id} does not grow")
    path = Path(artifact.path) if artifact.is_source else spool_folder / artifact.path
    return Intake(job, artifact, path, source, crew)

"""Recordings that are encoded while they are uploaded: what is on the disk for good may leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from msgspec.structs import replace

from . import preparing
from .errors import RecordingChanged, RecordingError
from .events import Prepared, Sealed, Waiting, Warned
from .runtime.artifact import ArtifactFile
from .runtime.supply import Growth
from .runtime.together import together

if TYPE_CHECKING:
    from .errors import SpeechStreamError
    from .model import ArtifactRecord, JobRecord
    from .runtime.crew import Crew

_SHORT_S: Final = 1.5  # what is encoded in less is sent in one piece: a length told at once saves round trips


@dataclass(slots=True, eq=False, repr=False)
class Encoding:
    """One artifact in the making, in the folder `spool`. `run` it beside the upload."""

    job: JobRecord
    artifact: ArtifactRecord
    spool: Path
    crew: Crew
    growth: Growth = field(init=False)
    _generation: str = field(init=False)
    _readable: anyio.Event = field(default_factory=anyio.Event)
    _stale: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.growth = Growth(self.crew.clock)
        self._generation = self.artifact.generation

    async def ready(self) -> None:
        """Wait until there is something to open; a short recording is best sent when all of it is there."""
        await self._readable.wait()
        if not self.crew.manifest.lanes(self.job):
            with anyio.move_on_after(_SHORT_S):
                await self.growth.wait_for_end()

    def open(self) -> ArtifactFile:
        """The artifact as it grows, under whatever name it has now: it gets another one at its end."""
        try:
            return ArtifactFile(self.spool / self.artifact.path, 0, growing=True)
        except RecordingError:
            return ArtifactFile(self.spool / f"artifact{Path(self.artifact.filename).suffix}", 0, growing=True)

    async def run(self) -> None:
        """Encode, from wherever an earlier run has stopped, to the end; then commit that it is whole.

        Raises:
            Unpreparable: ffmpeg fails on the recording.
            RecordingChanged: what is made now is not what was made, and perhaps sent, before.
            SpeechStreamError: the recording is at fault, or the disk.
        """
        async with together() as tasks:
            tasks.start_soon(self._give_up_when_stale)
            made, warnings = await preparing.make(self.job, await preparing.look(self.job), self.spool, self)
            tasks.cancel_scope.cancel()
        if self._stale.is_set():
            raise _another_generation(self.job)
        for warning in warnings:
            self.crew.emit(Warned(self.job.id, warning))
        self.crew.manifest.note(self.job.id, artifact=replace(made, generation=self._generation))
        self.crew.emit(Sealed(self.job.id, made.size_bytes, self.job.identity.size_bytes))
        self.growth.reached(made.size_bytes)
        self.growth.end()

    async def end(self) -> JobRecord:
        """Wait until it is whole."""
        await self.growth.wait_for_end()
        return self.crew.manifest.job(self.job.id)

    async def outlast(self, error: SpeechStreamError) -> None:
        """The upload has failed: what is encoded so far stays, and the next run goes on from there."""

    def begun(self, generation: str, watermark_bytes: int) -> None:
        """Commit which generation it is before a byte of it leaves; stop when it is another than that."""
        if not self._generation:
            self._generation = generation
            self.crew.manifest.note(self.job.id, artifact=replace(self.artifact, generation=generation))
        if generation == self._generation:
            self.growth.reached(watermark_bytes)
            self._readable.set()
        else:
            self._stale.set()

    def moved(self, done_s: float, total_s: float | None, speed: float | None, watermark_bytes: int) -> None:
        """What is below the watermark may leave."""
        self.crew.emit(Prepared(self.job.id, done_s, total_s, speed))
        if not self._stale.is_set():
            self.growth.reached(watermark_bytes)

    def paused(self, reason: str) -> None:
        """The upload goes on with what is there."""
        self.crew.emit(Waiting(self.job.id, reason, None))

    async def _give_up_when_stale(self) -> None:
        await self._stale.wait()
        raise _another_generation(self.job)


def _another_generation(job: JobRecord) -> RecordingChanged:
    return RecordingChanged(f"What is encoded of job {job.id} now is not what was encoded before")

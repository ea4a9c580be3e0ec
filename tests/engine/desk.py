"""A user's machine between two runs of the program, before a tus server in memory: uploads over lanes, without I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from engine.choosing import Manner
from engine.core.retry import RetryPolicy
from engine.events import Warned
from engine.model import ArtifactRecord, JobState
from engine.runtime.artifact import ArtifactFile
from engine.runtime.crew import Crew
from engine.runtime.exchange import Exchanger
from engine.runtime.manifest import Manifest
from engine.runtime.persist import Persistence
from engine.runtime.turns import Turns
from engine.uploading import Uploading
from tests.engine.tus_server import Killed
from tests.engine.world import JOB, Events, FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from engine.model import JobRecord
    from engine.runtime.supply import Growth
    from tests.engine.tus_server import TusServer

CONTENT = random.Random(7).randbytes(2_500_001)


@dataclass
class Desk:
    """What stays on this machine between two runs of the program."""

    state: Path
    artifact: Path
    clock: FakeClock
    lanes: int = 4
    growing: bool = False
    told: Events = field(default_factory=Events)

    def prepare(self, content: bytes = CONTENT) -> None:
        """Bring the job to where its upload begins."""
        self.artifact.write_bytes(content)
        size_bytes = 0 if self.growing else len(content)
        record = ArtifactRecord("artifact", size_bytes, "audio/ogg", "talk.ogg", "standard", is_source=False)
        record = replace(record, growing=self.growing)
        with Manifest(self.state) as manifest:
            manifest.find_or_add(JOB, new=False)
            manifest.move(JOB.id, JobState.PREPARING)
            manifest.move(JOB.id, JobState.UPLOADING, artifact=record)

    async def run(self, server: TusServer, growth: Growth | None = None) -> None:
        """One run of the program: everything it knows it reads from the manifest."""
        exchanger = Exchanger(self.clock, user_agent="test", transport=server)
        unused: Any = None
        try:
            with Manifest(self.state) as manifest:
                job = manifest.job(JOB.id)
                assert job.artifact is not None
                emit = self.told.append
                crew = Crew(manifest, exchanger, unused, self.clock, emit, RetryPolicy())
                uploading = Uploading(
                    job=job,
                    artifact=job.artifact,
                    base_url=JOB.endpoint,
                    manner=Manner(max_lanes=self.lanes),
                    crew=crew,
                    turns=Turns(manifest, self.clock, emit, "account"),
                    persistence=Persistence(JOB.id, self.clock, exchanger.brake, emit, RetryPolicy()),
                    open_artifact=self.open,
                )

                async def end() -> JobRecord:
                    assert growth is not None
                    await growth.wait_for_end()
                    assert job.artifact is not None
                    manifest.note(job.id, artifact=replace(job.artifact, size_bytes=growth.stop, growing=False))
                    return manifest.job(job.id)

                uploading.growth, uploading.end = growth, end
                assert await uploading.carry() is None
        finally:
            await exchanger.aclose()

    def open(self, job: JobRecord) -> ArtifactFile:
        """The artifact as the job knows it."""
        assert job.artifact is not None
        return ArtifactFile(self.artifact, job.artifact.size_bytes, growing=job.artifact.growing)

    async def run_until_done(self, server: TusServer) -> int:
        """Run again after every kill; returns how many runs it took."""
        for runs in range(1, 100):
            try:
                await self.run(server)
            except Killed:
                continue
            return runs
        raise AssertionError("it never came to an end")

    def url(self) -> str:
        """The path of the whole upload, as the manifest has it."""
        with Manifest(self.state) as manifest:
            job = manifest.job(JOB.id)
            url = job.joined_url or manifest.lanes(job)[0].url
            assert url is not None
            return url.reveal()

    def warnings(self) -> list[str]:
        """What the user was warned of."""
        return [event.message for event in self.told if isinstance(event, Warned)]

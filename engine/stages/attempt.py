"""One owner's attempt at one job: what all its stages share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from ..choosing import Manner
from ..core.job import artifact_of
from ..events import Submitted, Transferred
from ..model import JobKind, JobState, Proof
from ..runtime.artifact import ArtifactFile
from ..runtime.persist import Persistence
from ..runtime.supply import Source
from ..runtime.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events import Event
    from ..model import JobRecord
    from ..runtime.crew import Crew
    from ..runtime.manifest import Manifest

MAX_REVISIONS: Final = 3  # in one run: a recording that changes a fourth time is still being written
RELAPSE_PAUSE_S: Final = 1.0  # a server that contradicts itself is given a moment
# What no other attempt at the same bytes can change; a missing or unreadable file may only be on an unplugged disk.
HOPELESS: Final = frozenset({"Empty", "Encrypted", "NoAudio", "NotMedia", "Truncated", "Unsupported"})
CHANGED: Final = frozenset({"Changed", "SourceChanged"})


class Wishes(Struct, frozen=True):
    """What the caller asked for beyond the recording itself.

    `keep_artifact` until the job is at its end, for `verify`; else only until the service has compared it with its own.
    """

    manner: Manner = field(default_factory=Manner)
    source: Source = field(default_factory=Source)
    repeat_ambiguous: bool = False
    fallback: bool = True
    keep_artifact: bool = True
    goal: JobState = JobState.COMPLETED
    creation_url: str | None = None


class Attempt(Struct):
    """What its owner works with, and how often in this run the job had to go back: `relapses` and `revisions`.

    `folder` is the job's own; who runs an attempt holds the job's lock throughout.
    """

    crew: Crew
    wishes: Wishes
    folder: Path
    relapses: int = 0
    revisions: int = 0

    @property
    def manifest(self) -> Manifest:
        """Where every stage finds what the one before has left."""
        return self.crew.manifest

    @property
    def emit(self) -> Callable[[Event], None]:
        """Who wants to know what happens."""
        return self.crew.emit

    @property
    def spool(self) -> Path:
        """Where the artifact is made."""
        return self.folder / "spool"

    async def base_url(self, job: JobRecord) -> str:
        """The address that the job's own are relative to."""
        if job.kind is JobKind.DELIVERY:
            return self.wishes.creation_url or job.endpoint
        return await self.crew.access.base_url(job.endpoint)

    async def turns(self, job: JobRecord) -> Turns:
        """Whoever hands out the service's limited calls; a delivery makes none of them."""
        if job.kind is JobKind.DELIVERY:
            return Turns(self.manifest, self.crew.clock, self.emit, account="")
        return await self.crew.access.turns(job.endpoint, self.manifest, self.emit)

    def persistence(self, job: JobRecord) -> Persistence:
        """How long to go on where the far side is at fault."""
        crew = self.crew
        return Persistence(job.id, crew.clock, crew.exchanger.brake, self.emit, crew.policy)

    def open(self, job: JobRecord) -> ArtifactFile:
        """The job's artifact, to be read."""
        artifact = artifact_of(job)
        path = Path(artifact.path) if artifact.is_source else self.spool / artifact.path
        unchanged = job.identity if artifact.is_source and not artifact.growing else None
        return ArtifactFile(path, artifact.size_bytes, unchanged=unchanged, growing=artifact.growing)

    def submitted(self, job: JobRecord, processing_id: str) -> JobRecord:
        """Say that the service has the job, and what that has cost."""
        self.tell_cost(job)
        self.emit(Submitted(job.id, processing_id))
        return job

    def tell_cost(self, job: JobRecord) -> None:
        """Say what the upload has cost."""
        tally, size_bytes = job.tally, artifact_of(job).size_bytes
        rate = size_bytes / tally.sending_s if tally.sending_s > 0 else None
        again = max(0, tally.sent_bytes - size_bytes)
        proof = str(job.proof or Proof.LENGTH)
        self.emit(Transferred(job.id, size_bytes, again, tally.retries, tally.waited_s, rate, proof))

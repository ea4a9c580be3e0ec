"""The job of a recording: found, or made; one recording has one."""

from __future__ import annotations

import secrets
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct
from msgspec.structs import replace

from .core.job import UNSUBMITTED
from .core.proof import Verdict
from .errors import ConfigError, UserError
from .events import Warned
from .identity import grows, identify, identify_if_any, of_growing, of_pipe
from .model import AS_IS, AUTO, JobKind, JobRecord, JobState
from .redaction import remember
from .runtime.local_service import LOCAL
from .runtime.ownership import owned
from .wire.address import origin

if TYPE_CHECKING:
    import os

    from .model import SourceIdentity
    from .runtime.crew import Crew

_ID_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads like something else
_ID_LENGTH: Final = 6


class Recordings(Struct, frozen=True):
    """Where jobs begin. `new` makes another job for a recording that has one."""

    crew: Crew
    new: bool

    async def job_of(
        self, recording: str | os.PathLike[str], kind: JobKind, endpoint: str, wish: str, track: str | None = None
    ) -> tuple[JobRecord, bool]:
        """The recording's job at `endpoint`; True when it is made just now. Nothing is sent.

        Raises:
            SpeechStreamError: the recording cannot be used, has a job with another recipe or track, or there is no key.
        """
        crew, source = self.crew, _absolute(recording)
        job = replace(self._draft(source, await identify(source), kind, endpoint, wish), track=track)
        found, added = None if self.new else await self._found(job), False
        if found is None:
            if kind is JobKind.TRANSCRIPTION and endpoint != LOCAL:
                await crew.access.base_url(endpoint)  # a missing key should not be found out after encoding
            job = await self._decided(job)
            found, added = crew.manifest.find_or_add(job, new=self.new)
        _require_same(found, job)
        if found.source != str(source):
            found = crew.manifest.relocate(found, str(source))
        return found, added

    def taken(
        self, recording: Path, facts: os.stat_result, endpoint: str, wish: str, track: str | None
    ) -> JobRecord | None:
        """The job that the service has of a file, if its directory entry tells: nothing is read.

        None also where anything else than what was asked for then is asked for now.
        """
        if self.new:
            return None
        job = self.crew.manifest.overview.taken(str(_absolute(recording)), facts, JobKind.TRANSCRIPTION, endpoint)
        return job if job is not None and _same_recipe(job, wish) and _same_track(job, track) else None

    async def _decided(self, job: JobRecord) -> JobRecord:
        """The job with the choice made, if it is ours: no resume makes another one because the link has changed."""
        if job.wish == AS_IS and job.track is None:
            return job
        from . import preparing
        from .planning import experience

        known = experience(self.crew.manifest, job.endpoint)
        choice = await preparing.choose(Path(job.source), preparing.Wish(job.wish, job.track, known))
        if choice is None or job.wish != AUTO:
            return job
        return replace(job, chosen=choice.recipe, decision=choice.reason)

    async def _found(self, job: JobRecord) -> JobRecord | None:
        return self.crew.manifest.find(job) or await self._taken_up(job) or await self._touched(job)

    async def _touched(self, new: JobRecord) -> JobRecord | None:
        """The job of a recording whose time of change alone is another since the service took it.

        The same bytes are not paid for twice; what was prepared can only be told by its size and fingerprint.
        """
        crew = self.crew
        old = crew.manifest.touched(new)
        if old is None or not _same(old, new):
            return None
        from .proving import verify_job

        recording, *_ = await verify_job(crew.manifest, old, crew.emit)
        if recording.verdict is not Verdict.EQUAL:
            return None
        if recording.remark:
            message = (
                f"the recording was written to since job {old.id}, to no effect that can be seen; if it has changed"
            )
            crew.emit(Warned(old.id, f"{message}, add `--new`"))
        return crew.manifest.reidentify(old.id, new.identity)

    async def _taken_up(self, new: JobRecord) -> JobRecord | None:
        """The job of what the recording was before it changed, if the service cannot have it yet.

        Raises:
            RecordingChanged: the recording has become shorter.
        """
        crew = self.crew
        old = crew.manifest.unsubmitted(new)
        if old is None or grows(old) or not _same(old, new):
            return None
        from .revising import prepare_anew, require_not_shorter

        require_not_shorter(old, new.identity)
        if old.artifact is not None and old.artifact.is_source:
            return old  # whoever owns it revises it
        await self._decided(new)
        with owned(crew.manifest.job_folder(old.id)) as mine:
            old = crew.manifest.job(old.id)
            if not mine or old.state not in UNSUBMITTED:
                crew.emit(Warned(old.id, "another process is at work on the recording as it was before it changed"))
                return old
            base_url = await crew.access.base_url(old.endpoint) if old.wire is not None else None
            return await prepare_anew(old, new.identity, crew, base_url)

    async def end_outdated(self, new: JobRecord) -> None:
        """End the unfinished jobs of what the recording was before it changed, unless they have all they need."""
        manifest, emit = self.crew.manifest, self.crew.emit
        for old in map(manifest.job, manifest.outdated(new)):
            if old.artifact is not None and not old.artifact.is_source:
                hint = f"`speechstream resume {old.id}` finishes it, `speechstream cancel {old.id}` ends it"
                emit(Warned(new.id, f"job {old.id} holds the recording as it was before it changed; {hint}"))
                continue
            emit(Warned(new.id, f"the recording has changed since job {old.id}, which ends here"))
            from .ending import discard

            try:
                await discard(old, self.crew)
            except UserError as error:
                emit(Warned(new.id, error.message))

    async def growing_job_of(self, recording: str | os.PathLike[str], endpoint: str) -> tuple[JobRecord, bool]:
        """The job of a recording that is still being written, or of that same recording since it ended.

        Raises:
            SpeechStreamError: as `job_of`.
        """
        crew, source = self.crew, _absolute(recording)
        identity = of_growing(source)
        job = self._draft(source, identity, JobKind.TRANSCRIPTION, endpoint, AS_IS)
        if not self.new and crew.manifest.find(job) is None:
            ended = await identify_if_any(source)
            found = None if ended is None else crew.manifest.find(replace(job, identity=ended))
            if found is not None:
                return found, False
        if endpoint != LOCAL:
            await crew.access.base_url(endpoint)
        return crew.manifest.find_or_add(job, new=self.new)

    async def piped_job(self, name: str, endpoint: str) -> JobRecord:
        """A job for what comes through a pipe, of which nothing has come yet. `name` is what the service is told.

        Raises:
            SpeechStreamError: there is no key.
        """
        if endpoint != LOCAL:
            await self.crew.access.base_url(endpoint)
        job = self._draft(Path(name), of_pipe(), JobKind.TRANSCRIPTION, endpoint, AS_IS)
        return self.crew.manifest.find_or_add(job, new=True)[0]

    def _draft(self, source: Path, identity: SourceIdentity, kind: JobKind, endpoint: str, wish: str) -> JobRecord:
        now = self.crew.clock.wall()
        return JobRecord(
            id="".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH)),
            kind=kind,
            state=JobState.NEW,
            source=str(source),
            identity=identity,
            wish=wish,
            endpoint=endpoint,
            idempotency_key=str(uuid.uuid4()),
            created_at=now,
            updated_at=now,
        )


def delivery_address(to: str) -> str:
    """The creation URL as the manifest may keep it: without a password or a query, which may be a signature."""
    try:
        origin(to)
    except ValueError as error:
        raise ConfigError(f"The address to send to cannot be used: {error}") from error
    parts = urlsplit(to)
    for secret in (parts.query, parts.password):
        if secret:
            remember(secret)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _absolute(path: str | os.PathLike[str]) -> Path:
    """The user's name for a file, from the root; links are kept, as they are part of the name."""
    return Path(path).absolute()


def _made_with(job: JobRecord) -> str:
    return job.wish if job.artifact is None else job.artifact.recipe


def _same_recipe(job: JobRecord, wish: str) -> bool:
    return wish in {AUTO, job.wish, _made_with(job)}


def _same_track(job: JobRecord, track: str | None) -> bool:
    return track in {None, job.track}


def _same(job: JobRecord, asked: JobRecord) -> bool:
    return _same_recipe(job, asked.wish) and _same_track(job, asked.track)


def _require_same(job: JobRecord, asked: JobRecord) -> None:
    """One recording is one job: another recipe or track of it must be asked for as another job."""
    if not _same_recipe(job, asked.wish):
        has, other = f"the recipe {_made_with(job)}", asked.wish
    elif not _same_track(job, asked.track):
        has, other = "its default track" if job.track is None else f"track {job.track}", f"track {asked.track}"
    else:
        return
    raise UserError(
        f"{job.source} already is job {job.id}, with {has}",
        hint=f"`speechstream resume {job.id}` goes on with it; `--new` makes a second job with {other}",
    )

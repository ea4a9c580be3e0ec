"""A job's way from recording to transcript, stage by stage, from whatever was last committed.

Every stage reads what it needs from the manifest and leaves its result there, so a run may end anywhere and the
next one goes on. What comes next is decided by `core.job`; nothing here remembers between runs.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import preparing
from .core.job import FINAL, Stage, after_upload, artifact_of, next_stage
from .core.proof import proof_of_delivery
from .encoding import Encoding, encodes
from .errors import (
    InternalError,
    JobFailed,
    KeyRejected,
    RecordingChanged,
    RecordingError,
    SpeechStreamError,
    UploadRefused,
)
from .events import Completed, Failed, Opened, Submitted, Transferred, Warned
from .identity import (
    growing_artifact,
    grows,
    identify,
    is_as_sealed,
    is_only_copy,
    require_repeatable,
    require_unchanged,
)
from .intake import Intake, Source, intake_of
from .model import JobKind, JobState, Proof, WireName
from .revising import MAX_REVISIONS, farewell, prepare_anew, revise_upload
from .runtime.artifact import ArtifactFile, is_whole
from .runtime.live import LiveReader, LiveWriter
from .runtime.ownership import owned
from .runtime.persist import Persistence
from .runtime.polling import until_done
from .runtime.submission import Lost, submit
from .runtime.together import together
from .runtime.turns import Turns
from .runtime.upload import ambiguous
from .submitting import all_digests, relapse, submission_of, uploaded_as
from .uploading import Manner, Uploading
from .wire.address import with_path

if TYPE_CHECKING:
    from .model import ArtifactRecord, JobRecord
    from .runtime.crew import Crew

_RELAPSE_PAUSE_S: Final = 1.0  # a server that contradicts itself is given a moment
log = logging.getLogger("speechstream.job")
_FOLLOW_EVERY_S: Final = 0.25
# What no other attempt at the same bytes can change; a missing or unreadable file may only be on an unplugged disk.
_HOPELESS: Final = frozenset({"Empty", "Encrypted", "NoAudio", "NotMedia", "Truncated", "Unsupported"})
_BAD_DISK: Final = "the recording is untouched; choose a sound disk with SPEECHSTREAM_STATE_DIR"
_CHANGED: Final = frozenset({"Changed", "SourceChanged"})


@dataclass(frozen=True, slots=True)
class Wishes:
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


async def run(job: JobRecord, crew: Crew, wishes: Wishes) -> JobRecord:
    """Bring a job to its goal, as its owner or by watching its owner do it.

    Raises:
        SpeechStreamError: the attempt ended. What was committed stays, and the next run goes on from it.
    """
    if _reached(job, wishes.goal):
        return job
    folder = crew.manifest.job_folder(job.id)
    reader = LiveReader(folder)
    told = False
    while not _reached(job, wishes.goal):
        with owned(crew.manifest.job_folder(job.id)) as mine:  # its owner removes it behind itself
            if mine:
                onward = replace(crew, emit=LiveWriter(folder, crew.clock, crew.emit))
                try:
                    with crew.exchanger.brake.link.telling(job.id, onward.emit):
                        return await JobRun(onward, wishes, folder).drive(job.id)
                finally:
                    if _leaves_nothing(crew.manifest.job(job.id), wishes):
                        shutil.rmtree(folder, ignore_errors=True)
        if not told:
            told = True
            crew.emit(Opened(job.id, job.source, resumed=True, attached=True))
        event = reader.newest()
        if event is not None and not isinstance(event, (Completed, Failed)):
            crew.emit(event)
        await crew.clock.sleep(_FOLLOW_EVERY_S)
        job = crew.manifest.job(job.id)
    return job


def _reached(job: JobRecord, goal: JobState) -> bool:
    match goal:
        case JobState.SUBMITTING:
            met = job.state in {JobState.SUBMITTING, JobState.PROCESSING}
        case JobState.PROCESSING:
            met = job.state is JobState.PROCESSING
        case _:
            met = False
    return met or job.state in FINAL


def _leaves_nothing(job: JobRecord, wishes: Wishes) -> bool:
    """Whether the job's folder goes. What came through a pipe stays to the end: there is no other copy."""
    taken = job.state is JobState.PROCESSING and not is_only_copy(job)
    return job.state in FINAL or (taken and not wishes.keep_artifact)


class JobRun:
    """One owner's work on one job. Holds the job's lock throughout."""

    def __init__(self, crew: Crew, wishes: Wishes, folder: Path) -> None:
        self._crew = crew
        self._wishes = wishes
        self._folder = folder
        self._manifest = crew.manifest
        self._emit = crew.emit
        self._relapses = 0
        self._revisions = 0

    async def drive(self, job_id: str) -> JobRecord:
        """Run stage after stage until the goal is reached."""
        job = self._manifest.job(job_id)
        try:
            while not _reached(job, self._wishes.goal):
                job = await self._next(job)
        except SpeechStreamError as error:
            resumable = self._manifest.job(job_id).state not in FINAL
            self._emit(Failed(job_id, error.kind, error.message, error.hint, resumable))
            raise
        if job.state is JobState.COMPLETED:
            self._emit(Completed(job_id))
        return job

    @property
    def _spool(self) -> Path:
        return self._folder / "spool"

    async def _next(self, job: JobRecord) -> JobRecord:
        stage = next_stage(job)
        log.info("job %s is %s; next: %s", job.id, job.state, stage.name.lower().replace("_", " "))
        match stage:
            case Stage.PREPARE:
                return await self._prepare(job)
            case Stage.UPLOAD:
                return await self._upload(job)
            case Stage.SUBMIT:
                return await self._submit(job)
            case Stage.POLL:
                return await self._poll(job)
            case Stage.ASK_A_PERSON:
                return self._ask_a_person(job)
            case Stage.NOTHING:
                raise InternalError(f"job {job.id} is {job.state} and was run all the same")

    # -- preparing -------------------------------------------------------------------------------

    async def _prepare(self, job: JobRecord) -> JobRecord:
        if job.state is JobState.NEW:
            job = self._manifest.move(job.id, JobState.PREPARING)
        if grows(job):
            artifact, reason = growing_artifact(job)
            return self._manifest.move(job.id, JobState.UPLOADING, artifact=artifact, decision=reason)
        now = await identify(Path(job.source))
        if now != job.identity:
            job = await prepare_anew(job, now, self._crew, None)
        try:
            artifact, reason = await preparing.begin(job, self._emit)
        except preparing.Unpreparable as failure:
            return self._send_original(job, failure)
        except RecordingError as error:
            self._revisions += error.reason in _CHANGED
            if error.reason in _CHANGED and self._revisions <= MAX_REVISIONS:
                await self._crew.clock.sleep(_RELAPSE_PAUSE_S)
                return job
            if error.reason in _HOPELESS:
                self._manifest.move(job.id, JobState.FAILED, failure=error.message)
            raise
        return self._manifest.move(job.id, JobState.UPLOADING, artifact=artifact, decision=reason)

    def _send_original(self, job: JobRecord, failure: preparing.Unpreparable) -> JobRecord:
        """What cannot be prepared goes as it is, unless that is not wanted."""
        if not self._wishes.fallback:
            raise failure.error from failure
        self._emit(Warned(job.id, failure.reason))
        artifact = preparing.original(job)
        return self._manifest.move(job.id, JobState.UPLOADING, artifact=artifact, decision=failure.reason)

    async def _send_original_instead(self, job: JobRecord, failure: preparing.Unpreparable) -> JobRecord:
        """The same after bytes of what was being prepared have left: they go from the server. The job's key stays."""
        if not self._wishes.fallback:
            raise failure.error from failure
        return self._send_original(await self._drop_artifact(self._manifest.job(job.id)), failure)

    async def _drop_artifact(self, job: JobRecord) -> JobRecord:
        """Back to preparing; what was sent of the artifact goes from the server."""
        lanes = self._manifest.lanes(job)
        again = self._manifest.prepare_again(job.id)
        if job.wire is WireName.TUS:
            await farewell(lanes, self._crew, await self._base_url(job))
        return again

    # -- uploading -------------------------------------------------------------------------------

    async def _upload(self, job: JobRecord) -> JobRecord:
        artifact = artifact_of(job)
        if not self._is_here(artifact):
            require_repeatable(job)
            self._emit(Warned(job.id, "the prepared artifact is no longer here; it is made and sent again"))
            return self._manifest.prepare_again(job.id)
        try:
            return await self._bring(job)
        except preparing.Unpreparable as failure:
            return await self._send_original_instead(job, failure)
        except RecordingError as error:
            if error.reason in _HOPELESS and encodes(artifact):
                self._manifest.move(job.id, JobState.FAILED, failure=error.message)
            if error.reason in _CHANGED:
                return await self._revised(job, error)
            if error.reason == "Empty":  # a pipe that nothing came through
                self._manifest.move(job.id, JobState.FAILED, failure=error.message)
            raise

    async def _bring(self, job: JobRecord) -> JobRecord:
        persistence = self._persistence(job)
        try:
            processing_id = await self._carry(job, persistence)
        except KeyRejected as error:
            raise _for_delivery(error, job) from error
        except UploadRefused:
            self._manifest.forget_capabilities(with_path(await self._base_url(job), "uploads"))  # it may offer less now
            raise
        finally:
            self._manifest.add_to_tally(job.id, persistence.cost)
        job = self._manifest.job(job.id)
        if processing_id is not None:
            return self._submitted(job, processing_id)
        if job.kind is JobKind.DELIVERY:
            return await self._deliver(job)
        artifact = artifact_of(job)
        if not artifact.is_source and not await is_as_sealed(job, self._spool / artifact.path):
            raise RecordingChanged(f"The prepared artifact of job {job.id} changes on its disk", hint=_BAD_DISK)
        return self._manifest.move(job.id, after_upload(job.kind))

    async def _revised(self, job: JobRecord, error: RecordingError) -> JobRecord:
        """The recording is no longer what it was. Where it is sent as it is, what still holds is kept."""
        self._revisions += 1
        job = self._manifest.job(job.id)
        artifact = artifact_of(job)
        sent_as_it_grows = artifact.growing and not encodes(artifact)
        if sent_as_it_grows or job.state is not JobState.UPLOADING or self._revisions > MAX_REVISIONS:
            raise error
        await self._crew.clock.sleep(_RELAPSE_PAUSE_S)
        if not artifact.is_source:
            require_repeatable(job)
            self._emit(Warned(job.id, "the prepared artifact is no longer what it was; it is made and sent again"))
            return await self._drop_artifact(job)
        return await revise_upload(job, replace(self._crew, emit=self._emit), await self._base_url(job))

    async def _carry(self, job: JobRecord, persistence: Persistence) -> str | None:
        """Bring the artifact to the server. A wire whose last reply makes the job gives its processing_id."""
        artifact = artifact_of(job)
        uploading = Uploading(
            job=job,
            artifact=artifact,
            base_url=await self._base_url(job),
            manner=self._wishes.manner,
            crew=self._crew,
            turns=await self._turns(job),
            persistence=persistence,
            open_artifact=self._open,
        )
        if artifact.growing:
            return await self._carry_growing(uploading)
        if artifact.is_source:
            await require_unchanged(job)
        return await uploading.carry()

    async def _carry_growing(self, uploading: Uploading) -> str | None:
        job, artifact, crew = uploading.job, uploading.artifact, replace(self._crew, emit=self._emit)
        intake: Intake | Encoding
        if encodes(artifact):
            intake = Encoding(job, artifact, self._spool, crew)
        else:
            intake = intake_of(job, artifact, self._spool, self._wishes.source, crew)
        uploading.growth, uploading.end = intake.growth, intake.end
        uploading.open_artifact = lambda job: intake.open() if artifact_of(job).growing else self._open(job)
        async with together() as tasks:
            tasks.start_soon(intake.run)
            await intake.ready()
            try:
                return await uploading.carry()
            except SpeechStreamError as error:
                await intake.outlast(error)
                raise

    async def _deliver(self, job: JobRecord) -> JobRecord:
        """The bytes are where they were to go: nobody will submit them, so this is the end."""
        await require_unchanged(job)  # nobody else will ever compare these bytes
        await all_digests(job, self._manifest, self._open)  # the receipt's, when the file may be gone
        now = self._crew.clock.wall()
        job = self._manifest.move(
            job.id,
            after_upload(job.kind),
            result_url=uploaded_as(job, self._manifest, await self._base_url(job)),
            proof=proof_of_delivery(self._manifest.lanes(job)),
            uploaded_at=now,
            completed_at=now,
        )
        self._tell_cost(job)
        return job

    # -- submitting ------------------------------------------------------------------------------

    async def _submit(self, job: JobRecord) -> JobRecord:
        base_url, turns, persistence = await self._base_url(job), await self._turns(job), self._persistence(job)
        submission = await submission_of(job, self._manifest, base_url, self._open)
        try:
            answer = await submit(base_url, submission, self._crew.exchanger, turns, persistence)
        finally:
            self._manifest.add_to_tally(job.id, persistence.cost)
        if isinstance(answer, Lost):
            self._relapses += 1
            await self._crew.clock.sleep(_RELAPSE_PAUSE_S)
            return relapse(job, answer, self._relapses, self._manifest, self._emit)
        job = self._manifest.move(
            job.id,
            JobState.PROCESSING,
            processing_id=answer,
            proof=Proof.VERIFIED,  # whoever takes a submission has compared its digests with the bytes
            uploaded_at=self._crew.clock.wall(),
        )
        return self._submitted(job, answer)

    def _submitted(self, job: JobRecord, processing_id: str) -> JobRecord:
        self._tell_cost(job)
        self._emit(Submitted(job.id, processing_id))
        return job

    def _ask_a_person(self, job: JobRecord) -> JobRecord:
        if job.state is not JobState.AMBIGUOUS:
            job = self._manifest.move(job.id, JobState.AMBIGUOUS, failure="it was cut off before the answer came")
        if not self._wishes.repeat_ambiguous:
            raise ambiguous(job.id, job.failure or "no answer came")
        return self._manifest.move(job.id, JobState.UPLOADING)

    # -- waiting ---------------------------------------------------------------------------------

    async def _poll(self, job: JobRecord) -> JobRecord:
        if job.processing_id is None:
            raise InternalError(f"job {job.id} is processing and has no processing_id")
        base_url = await self._base_url(job)
        try:
            text = await until_done(
                base_url, job.processing_id, self._crew.exchanger, await self._turns(job), self._persistence(job)
            )
        except JobFailed as error:
            self._manifest.move(job.id, JobState.FAILED, failure=error.message)
            raise
        now = self._crew.clock.wall()
        return self._manifest.move(job.id, JobState.COMPLETED, transcription=text, completed_at=now)

    # -- shared ----------------------------------------------------------------------------------

    async def _base_url(self, job: JobRecord) -> str:
        if job.kind is JobKind.DELIVERY:
            return self._wishes.creation_url or job.endpoint
        return await self._crew.access.base_url(job.endpoint)

    async def _turns(self, job: JobRecord) -> Turns:
        if job.kind is JobKind.DELIVERY:  # it makes no call that the service limits
            return Turns(self._manifest, self._crew.clock, self._emit, account="")
        return await self._crew.access.turns(job.endpoint, self._manifest, self._emit)

    def _persistence(self, job: JobRecord) -> Persistence:
        crew = self._crew
        return Persistence(job.id, crew.clock, crew.exchanger.brake, self._emit, crew.policy)

    def _is_here(self, artifact: ArtifactRecord) -> bool:
        if artifact.is_source or artifact.growing:
            return True
        return is_whole(self._spool / artifact.path, artifact.size_bytes)

    def _open(self, job: JobRecord) -> ArtifactFile:
        artifact = artifact_of(job)
        path = Path(artifact.path) if artifact.is_source else self._spool / artifact.path
        unchanged = job.identity if artifact.is_source and not artifact.growing else None
        return ArtifactFile(path, artifact.size_bytes, unchanged=unchanged, growing=artifact.growing)

    def _tell_cost(self, job: JobRecord) -> None:
        tally, size_bytes = job.tally, artifact_of(job).size_bytes
        rate = size_bytes / tally.sending_s if tally.sending_s > 0 else None
        again = max(0, tally.sent_bytes - size_bytes)
        proof = str(job.proof or Proof.LENGTH)
        self._emit(Transferred(job.id, size_bytes, again, tally.retries, tally.waited_s, rate, proof))


def _for_delivery(error: KeyRejected, job: JobRecord) -> KeyRejected:
    if job.kind is not JobKind.DELIVERY:
        return error
    return KeyRejected(
        f"The server did not accept the request's credentials: {error.__cause__ or error}",
        hint="nothing is lost; repeat the same `speechstream send` with a valid `--header 'Authorization: …'`",
    )

"""The library's face: a client that keeps every guarantee of the command, with events instead of callbacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict
from urllib.parse import urlsplit, urlunsplit

import anyio
from msgspec.structs import replace

from . import bounds, config, ending, pipeline
from .audience import Audience
from .choosing import Manner
from .core import control
from .core.job import FINAL, UNSUBMITTED
from .core.pace import Rules
from .core.retry import DEFAULT_BUDGET_S, RetryPolicy
from .errors import ConfigError, JobFailed, NoSuchJob, ServiceError, UserError
from .events import Event, Opened, Warned
from .model import AS_IS, AUTO, Delivery, JobKind, JobRecord, JobState, Receipt, Transcript
from .recordings import Recordings, delivery_address
from .redaction import Secret
from .runtime.clock import SystemClock
from .runtime.courtesy import Courtesy
from .runtime.credentials import Credentials
from .runtime.crew import Crew
from .runtime.exchange import Exchanger
from .runtime.kernel import OFF
from .runtime.local_service import LOCAL
from .runtime.manifest import Manifest
from .runtime.pace import Pace
from .runtime.persist import Persistence
from .runtime.polling import ask, until_done
from .runtime.service_access import ServiceAccess
from .runtime.supply import DEFAULT_IDLE_S, Source
from .stages.attempt import Wishes
from .version import VERSION
from .wire.address import given, same_origin

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream

    from .model import JobStatus
    from .runtime.clock import Clock
    from .runtime.turns import Turns


class ClientSettings(TypedDict, total=False):
    """The settings of `Client`, for functions that pass them on."""

    endpoint: str | None
    api_key: str | None
    local: bool
    state_dir: str | os.PathLike[str] | None
    recipe: str | None
    track: str | None
    wire: str | None
    checksum: bool
    max_lanes: int | None
    congestion: str | None
    request_bytes: int | None
    repeat_ambiguous: bool
    fallback: bool
    retry_for_s: float | None
    limit_bytes_s: int | None
    polite: bool | None
    new: bool


class Client:
    """Uploads and transcribes; an async context manager. One client may work on many recordings at once.

    Args:
        endpoint: Base address of the service; by default the configured one.
        api_key: The key; by default it is looked for in environment, key command, config file and keyring.
        local: Use the embedded service, started for as long as it is needed.
        state_dir: Folder of the manifest; by default the configured one.
        recipe: How to prepare: auto, standard, high, small, lossless, copy, video, as-is.
        track: The audio track to transcribe, by its number from 1 or its language; by default the recording's default.
        wire: How bytes travel: auto, single, tus.
        checksum: Have every append checked by the server, where it can.
        max_lanes: How many connections may send at once where the server joins what they bring (48, at most 64).
        congestion: How connections find their rate: auto (BBR where this user may ask for it), off, or a name.
        request_bytes: Size of every append but the last, for servers that insist on one; by default it is measured.
        repeat_ambiguous: Repeat a single-request upload whose outcome is unknown, at the risk of a second job.
        fallback: Where ffmpeg fails on a recording that can be read, send the recording as it is.
        retry_for_s: Seconds without progress, the far side being at fault, before giving up (24 h).
        limit_bytes_s: The most to send a second; becomes the own limit of every job worked on. 0 is no limit.
        polite: Give way to the user's other traffic, and add less than 50 ms to the delay of his line.
        new: Make a new job even for a recording that has one.
    """

    def __init__(  # noqa: PLR0913 - keyword-only settings, each with a default
        self,
        *,
        endpoint: str | None = None,
        api_key: str | None = None,
        local: bool = False,
        state_dir: str | os.PathLike[str] | None = None,
        recipe: str | None = None,
        track: str | None = None,
        wire: str | None = None,
        checksum: bool = False,
        max_lanes: int | None = None,
        congestion: str | None = None,
        request_bytes: int | None = None,
        repeat_ambiguous: bool = False,
        fallback: bool = True,
        retry_for_s: float | None = None,
        limit_bytes_s: int | None = None,
        polite: bool | None = None,
        new: bool = False,
        clock: Clock | None = None,
    ) -> None:
        settings = config.load()
        if state_dir is not None:
            settings = replace(settings, state_dir=Path(state_dir).expanduser().absolute())
        if endpoint:
            settings = replace(settings, endpoint=endpoint.rstrip("/"))
        self.settings = settings
        self._endpoint = LOCAL if local else settings.endpoint or ""
        self._key = Secret(api_key) if api_key else None
        self._recipe = bounds.one_of(recipe or settings.recipe, config.RECIPES, "recipe")
        self._track = track
        wire = bounds.one_of(wire or settings.wire, config.WIRES, "wire")
        lanes = bounds.lanes(settings.max_lanes if max_lanes is None else max_lanes)
        size = bounds.request_bytes(settings.request_bytes if request_bytes is None else request_bytes, checksum)
        manner = Manner(wire, checksum, lanes, size)
        self._wishes = Wishes(manner, repeat_ambiguous=repeat_ambiguous, fallback=fallback)
        self._polite = settings.polite if polite is None else polite
        self._congestion = congestion or settings.congestion
        if self._polite:
            self._congestion = OFF  # BBR keeps a queue of its own, whatever rate it is held to
        budget_s = retry_for_s if retry_for_s is not None else settings.retry_for_s
        self._policy = RetryPolicy(DEFAULT_BUDGET_S if budget_s is None else budget_s)
        self._limit_bytes_s = bounds.limit(limit_bytes_s)
        self._new = new
        self._clock = clock or SystemClock()
        self._announced: set[str] = set()
        self._audience = Audience()

    async def __aenter__(self) -> Self:
        self._exchanger = Exchanger(
            self._clock,
            user_agent=f"speechstream/{VERSION}",
            max_lanes=self._wishes.manner.max_lanes,
            congestion=self._congestion,
            pace=self._pace(),
        )
        self._manifest = Manifest(self.settings.state_dir)
        ending.sweep(self._manifest)
        self._tasks = await anyio.create_task_group().__aenter__()
        access = ServiceAccess(self.settings, self._exchanger, self._clock, self._tasks, self._audience.tell, self._key)
        self._crew = Crew(self._manifest, self._exchanger, access, self._clock, self._audience.tell, self._policy)
        self._recordings = Recordings(self._crew, self._new)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what was started. An error of the body passes as it is, not wrapped in the task group's."""
        self._audience.close()
        self._tasks.cancel_scope.cancel()
        try:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                await self._tasks.__aexit__(kind, error, trace)
            else:
                await self._tasks.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._exchanger.aclose()
            self._manifest.close()

    def _pace(self) -> Pace:
        settings = self.settings
        return Pace(
            self._clock,
            Rules(usual=settings.limit_bytes_s),
            timetable=settings.timetable,
            own_limit=self._own_limit,
            courtesy=Courtesy(self._clock, self._warn) if self._polite else None,
        )

    def _warn(self, message: str) -> None:
        self._audience.tell(Warned("", message))

    def _own_limit(self, job_id: str) -> int | None:
        return self._manifest.limit_bytes_s(job_id)

    # -- the main job --------------------------------------------------------------------------

    async def transcribe(self, recording: str | os.PathLike[str]) -> Transcript:
        """The transcript of a recording; uploads it unless it has been. May be repeated after any interruption.

        Raises:
            SpeechStreamError: see `engine.errors`; whatever was committed is kept and the next call goes on.
        """
        return await self._to_transcript(await self.open(recording))

    async def upload(self, recording: str | os.PathLike[str]) -> Receipt:
        """The processing_id of a recording; uploads it unless it has been.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        return await self._to_receipt(await self.open(recording))

    def taken(self, recording: Path, facts: os.stat_result) -> Receipt | None:
        """The processing_id of a file that the service has already, told by its directory entry `facts` alone.

        None where it has to be looked at.
        """
        endpoint = self._required_endpoint()
        job = self._recordings.taken(recording, facts, endpoint, self._recipe, self._track)
        if job is None or job.processing_id is None:
            return None
        return Receipt(job.id, job.processing_id, job.source, job.proof)

    async def bring(self, recording: str | os.PathLike[str]) -> str:
        """Upload a recording, and leave it to `submit` to make a job of it there. Returns our own job's id.

        Where one request does both, the service has the job already.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        job = await self.open(recording)
        return (await self._run(job, JobState.SUBMITTING, replace(self._wishes, keep_artifact=False))).id

    async def submit(self, job_id: str) -> Receipt:
        """The processing_id of a recording that `bring` has brought; what was prepared of it goes from this disk.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        return await self._to_receipt(self._manifest.job(job_id), replace(self._wishes, keep_artifact=False))

    async def upload_growing(self, recording: str | os.PathLike[str], *, idle_s: float = DEFAULT_IDLE_S) -> Receipt:
        """The processing_id of a recording that is still being written: uploaded while it grows.

        It has ended when it has not grown for `idle_s` seconds. It is sent as it is.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        self._require_as_is("a recording that grows")
        job, added = await self._recordings.growing_job_of(recording, self._required_endpoint())
        self._announce(job, resumed=not added)
        return await self._to_receipt(job, replace(self._wishes, source=Source(idle_s=idle_s)))

    async def upload_pipe(self, descriptor: int, *, name: str = "stdin") -> Receipt:
        """The processing_id of what comes through a pipe: uploaded as it is, while it comes.

        What has come is kept: after an interruption, `resume` uploads it. `name` is the file name the service is told.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        self._require_as_is("a pipe")
        job = await self._recordings.piped_job(name, self._required_endpoint())
        self._announce(job, resumed=False)
        return await self._to_receipt(job, replace(self._wishes, source=Source(descriptor)))

    def _require_as_is(self, what: str) -> None:
        if self._recipe not in {AUTO, AS_IS}:
            raise UserError(
                f"With {what} there is no recipe but as-is: preparing needs the whole recording",
                hint="leave `--recipe` out, or upload the recording when it is finished",
            )
        if self._track is not None:
            raise UserError(
                f"With {what} there is no choice of a track: it is sent as it is, with all of them",
                hint="leave `--track` out, or upload the recording when it is finished",
            )

    async def send(
        self,
        file: str | os.PathLike[str],
        to: str | None = None,
        *,
        upload_url: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> Delivery:
        """Deliver a file's bytes to any tus server; makes no job there.

        `to` is the server's creation URL. `upload_url` is instead an upload that was made already, for exactly this
        file. `headers` go to that URL's origin only; they are not stored, nor is `metadata`, which the server is told
        of the upload.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        url = to or upload_url
        if url is None or (to and upload_url):
            raise ConfigError("A file is sent to a creation URL or to an upload URL", hint="give one of them")
        bounds.require_additions(headers, metadata)
        address = delivery_address(url)
        if upload_url is not None:
            address = given(upload_url)
        await self._authorize_delivery(url, headers)
        manner = replace(self._wishes.manner, metadata=metadata, upload_url=Secret(upload_url) if upload_url else None)
        job = await self._open(file, JobKind.DELIVERY, address, AS_IS)
        return await self._to_delivery(job, replace(self._wishes, manner=manner, creation_url=to))

    async def _authorize_delivery(self, to: str, headers: tuple[tuple[str, str], ...]) -> None:
        """The caller's headers go to that origin; our key only where that is the configured service's own."""
        endpoint = self.settings.endpoint
        if headers:
            self._exchanger.authorize(Credentials(to, headers))
        elif endpoint and same_origin(endpoint, to):
            await self._crew.access.base_url(endpoint)

    async def resume(self, name: str) -> Transcript | Receipt | Delivery:
        """Go on with a job by its id or processing_id, to its end.

        Raises:
            SpeechStreamError: as `transcribe`; `NoSuchJob` when it is unknown here.
        """
        job = await self._taken_up(name)
        return await (self._to_delivery(job) if job.kind is JobKind.DELIVERY else self._to_transcript(job))

    async def bring_on(self, name: str) -> JobRecord:
        """Go on with a job only until all its bytes are where they go, and leave it to `resume` to make a job of them.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        return await self._run(await self._taken_up(name), JobState.SUBMITTING)

    async def _taken_up(self, name: str) -> JobRecord:
        job = self._manifest.job(name)
        self._announce(job, resumed=True)
        if job.kind is JobKind.DELIVERY and job.state not in FINAL:
            await self._authorize_delivery(job.endpoint, ())
        return job

    async def wait(self, name: str) -> Transcript:
        """The transcript of a job, by its id or by a processing_id that may be another machine's.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        try:
            job = self._manifest.job(name)
        except NoSuchJob:
            return await self._wait_for_stranger(name)
        self._announce(job, resumed=True)
        return await self._to_transcript(job)

    async def status(self, name: str) -> JobStatus:
        """One answer of the service's status call, for a job of ours or any processing_id.

        Raises:
            SpeechStreamError: as `transcribe`.
        """
        try:
            job: JobRecord | None = self._manifest.job(name)
        except NoSuchJob:
            job = None
        processing_id = name if job is None else job.processing_id
        if processing_id is None:
            raise NoSuchJob(f"Job {name} has not reached the service yet", hint=f"speechstream resume {name}")
        endpoint = self._required_endpoint() if job is None else job.endpoint
        return await self._ask(endpoint, processing_id)

    async def cancel(self, name: str) -> JobRecord:
        """Give a job up: its upload is removed from the server where possible, and its artifact from here.

        Raises:
            SpeechStreamError: it is another process's.
        """
        return await ending.discard(self._manifest.job(name), self._crew)

    def limit(self, name: str, limit_bytes_s: int | None) -> JobRecord:
        """Give a job a limit of its own: at most so many bytes a second, 0 for none, None for what is set for all.

        A process that works on the job keeps to it within two seconds; so does every later one.

        Raises:
            NoSuchJob: it is unknown here.
            ConfigError: so low a limit would send nothing.
        """
        return self._manifest.note(self._manifest.job(name).id, limit_bytes_s=bounds.limit(limit_bytes_s))

    def jobs(self) -> list[JobRecord]:
        """All jobs of this state folder, oldest first."""
        return self._manifest.jobs()

    # -- events --------------------------------------------------------------------------------

    def events(self) -> MemoryObjectReceiveStream[Event]:
        """Everything that happens to this client's jobs from now on; ends with the client. Close it: `async with`."""
        return self._audience.stream()

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` for every event as it happens, in the client's own task; it must not block or raise."""
        self._audience.add(listener)

    def tell(self, event: Event) -> None:
        """Tell everybody who listens of what belongs to no single job."""
        self._audience.tell(event)

    # -- inside --------------------------------------------------------------------------------

    async def open(self, recording: str | os.PathLike[str]) -> JobRecord:
        """The job of a recording, found or made; nothing is sent.

        Raises:
            SpeechStreamError: the recording cannot be used, or no service is configured.
        """
        return await self._open(recording, JobKind.TRANSCRIPTION, self._required_endpoint(), self._recipe, self._track)

    async def _open(
        self, file: str | os.PathLike[str], kind: JobKind, endpoint: str, wish: str, track: str | None = None
    ) -> JobRecord:
        job, added = await self._recordings.job_of(file, kind, endpoint, wish, track)
        self._announce(job, resumed=not added)
        if added:
            await self._recordings.end_outdated(job)
        return job

    def _announce(self, job: JobRecord, *, resumed: bool) -> None:
        if job.id not in self._announced:
            self._announced.add(job.id)
            self._audience.tell(Opened(job.id, job.source, resumed=resumed, done=job.state in FINAL))

    async def _to_transcript(self, job: JobRecord) -> Transcript:
        done = await self._run(job, JobState.COMPLETED)
        if done.processing_id is None or done.transcription is None:
            raise ServiceError(f"Job {done.id} is {done.state} and has no transcript")
        return Transcript(done.id, done.processing_id, done.transcription, done.source, done.proof)

    async def _to_receipt(self, job: JobRecord, wishes: Wishes | None = None) -> Receipt:
        done = await self._run(job, JobState.PROCESSING, wishes)
        if done.processing_id is None:
            raise ServiceError(f"Job {done.id} is {done.state} and has no processing_id")
        return Receipt(done.id, done.processing_id, done.source, done.proof)

    async def _to_delivery(self, job: JobRecord, wishes: Wishes | None = None) -> Delivery:
        done = await self._run(job, JobState.COMPLETED, wishes)
        if done.result_url is None:
            raise ServiceError(f"Job {done.id} is {done.state} and delivered nothing")
        url = Secret(_without_login(done.result_url.reveal()))
        return Delivery(done.id, url, done.source, done.identity.size_bytes, done.proof)

    async def _run(self, job: JobRecord, goal: JobState, wishes: Wishes | None = None) -> JobRecord:
        if self._limit_bytes_s not in {None, job.limit_bytes_s}:
            job = self._manifest.note(job.id, limit_bytes_s=self._limit_bytes_s)
        if job.state in UNSUBMITTED:
            self._connect_ahead(job.endpoint)
        done = await pipeline.run(job, self._crew, replace(wishes or self._wishes, goal=goal))
        if done.state is JobState.FAILED:
            raise JobFailed(done.failure or f"Job {done.id} failed", hint="to try once more as a new job: add `--new`")
        if done.state in FINAL and done.state is not JobState.COMPLETED:
            raise NoSuchJob(
                f"Job {done.id} was cancelled",
                hint="for a new one: `speechstream transcribe --new` with the recording",
            )
        return done

    def _connect_ahead(self, url: str) -> None:
        """Have connections made while there is something else to do."""
        if url != LOCAL:
            first_lanes = min(control.FIRST_LANES, self._wishes.manner.max_lanes)
            self._tasks.start_soon(self._exchanger.connect_ahead, url, first_lanes)

    async def _wait_for_stranger(self, processing_id: str) -> Transcript:
        endpoint = self._required_endpoint()
        base_url, turns = await self._crew.access.base_url(endpoint), await self._turns(endpoint)
        with self._exchanger.brake.link.telling("", self._audience.tell):
            text = await until_done(base_url, processing_id, self._exchanger, turns, self._persistence(""))
        return Transcript("", processing_id, text, "")

    async def _ask(self, endpoint: str, processing_id: str) -> JobStatus:
        base_url, turns = await self._crew.access.base_url(endpoint), await self._turns(endpoint)
        return await ask(base_url, processing_id, self._exchanger, turns, self._persistence(""))

    async def _turns(self, endpoint: str) -> Turns:
        return await self._crew.access.turns(endpoint, self._manifest, self._audience.tell)

    def _persistence(self, job_id: str) -> Persistence:
        return Persistence(job_id, self._clock, self._exchanger.brake, self._audience.tell, self._policy)

    def _required_endpoint(self) -> str:
        if not self._endpoint:
            raise ConfigError(
                "No service is configured",
                hint="set SPEECHSTREAM_ENDPOINT to its address (https://…/v1), or try without one: add `--local`",
            )
        return self._endpoint


def _without_login(url: str) -> str:
    """The address as it may be shown: a relative Location takes over the password of the creation URL."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

"""Carries one lane to the server: performs the steps that `core.lane` decides, and commits what they prove.

The order is what makes a kill harmless: an offer is committed before its first byte leaves, an acknowledged offset with
its parts' digests before anyone is told.
"""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import xxhash

from ..core import lane as policy
from ..core.lane import Append, Create, Doubt, Finished, LaneState, Locate
from ..core.pacing import RequestSize
from ..errors import AmbiguousUpload, UploadRefused
from ..events import Uploaded, Warned
from ..faults import Busy, Fault, Gone, Interrupted, Nonsense, ServerTrouble, TooLarge
from ..model import JobState, Tally
from ..redaction import Secret
from ..wire.address import relative_to, resolve
from ..wire.tus import Checksum
from .exchange import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events import Event
    from ..model import JobRecord, Lane, Span, Standing
    from ..wire.interface import Wire
    from .artifact import ArtifactFile, PartHasher
    from .clock import Clock
    from .exchange import Exchanger
    from .manifest import Manifest
    from .persist import Persistence
    from .turns import Turns

_REPORT_EVERY_S: Final = 0.1
_HASHES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "sha1": lambda payload: hashlib.sha1(payload, usedforsecurity=False).digest(),
    "sha256": lambda payload: hashlib.sha256(payload).digest(),
    "xxh3-128": xxhash.xxh3_128_digest,
}
_UNDECIDED: Final = (Interrupted, ServerTrouble, Nonsense)  # nobody said no: the request may have had its effect
CHECKSUMS: Final = ("xxh3-128", "sha256", "sha1")  # what we can compute, best first


@dataclass(slots=True)
class LaneUpload:
    """One lane on its way. Owned by one task."""

    job: JobRecord
    base_url: str
    wire: Wire
    exchanger: Exchanger
    manifest: Manifest
    file: ArtifactFile
    hasher: PartHasher
    persistence: Persistence
    turns: Turns
    emit: Callable[[Event], None]
    _size: RequestSize = field(init=False)
    _sent_bytes: int = 0
    _cost: Tally = field(default_factory=Tally)  # of appends since the last commit, which carries it along
    _shown_bytes: int = 0
    _reported_s: float = 0.0

    def __post_init__(self) -> None:
        self._size = RequestSize(self.wire.limits)

    @property
    def _clock(self) -> Clock:
        return self.persistence.clock

    async def run(self, lane: Lane, *, submission_follows: bool) -> tuple[LaneState, str | None]:
        """Bring the lane to its end. Returns its state, and a processing_id where the wire's last reply has one.

        Where no submission follows, a lane whose resource vanished after its last byte cannot be proved
        complete: it goes again.

        Raises:
            SpeechStreamError: what `core.lane` will not go on from, or the end of patience.
        """
        url = None if lane.url is None else resolve(self.base_url, lane.url.reveal())
        state = LaneState(replace(lane, url=url))
        self._show(state.lane.acked_bytes, 0)
        try:
            return await self._to_its_end(state, submission_follows=submission_follows)
        finally:
            self.manifest.add_to_tally(self.job.id, self._cost)

    async def _to_its_end(self, state: LaneState, *, submission_follows: bool) -> tuple[LaneState, str | None]:
        while True:
            step = policy.next_step(state, self._size.bytes() if self.wire.resumable else self.file.size_bytes)
            if isinstance(step, Finished):
                if state.presumed_complete and not submission_follows:
                    state = policy.disproved(state)
                    continue
                return state, None
            try:
                state, processing_id = await self._perform(state, step)
            except Fault as fault:
                state = await self._after(fault, state, step)
                continue
            if state.warning:
                self.emit(Warned(self.job.id, state.warning))
            if processing_id is not None:
                return state, processing_id

    async def _perform(self, state: LaneState, step: Create | Locate | Append) -> tuple[LaneState, str | None]:
        match step:
            case Create():
                made = await self.exchanger.converse(self.wire.create(state.lane))
                state = policy.created(state, made.url if made else None, made.expires_at if made else None)
                self._commit(state)
                self.persistence.progressed()
                return state, None
            case Locate():
                standing = await self.exchanger.converse(self.wire.locate(state.lane))
                before = state
                state = policy.located(state, standing)
                self._commit(state)
                self._refill(before, state)
                self._show(state.lane.acked_bytes, 0)
                return state, None
            case Append():
                return await self._append(state, step)

    async def _append(self, state: LaneState, step: Append) -> tuple[LaneState, str | None]:
        state = policy.offering(state, step)
        self._commit(state)
        self.file.check()
        checksum = await self._checksum(step.span)
        async with AsyncExitStack() as stack:
            if not self.wire.resumable:
                await stack.enter_async_context(self.turns.upload(self.job.id))
            standing, seconds = await self._send(state.lane, step, checksum)
        if standing.processing_id is not None:
            return policy.appended(state, step, standing), standing.processing_id
        self.file.check()
        before, state = state, policy.appended(state, step, standing)
        self._commit(state)
        self._size.took(state.lane.acked_bytes - step.offset_bytes, seconds)
        self._refill(before, state)
        self._show(state.lane.acked_bytes, 0)
        if state.doubt is not Doubt.NONE:
            fault = Busy("the server called an append a success and took nothing of it")
            await self.persistence.wait(fault, "The upload")
        return state, None

    def _refill(self, before: LaneState, after: LaneState) -> None:
        """Only a byte further than ever is progress: what a server loses and takes again must not buy patience."""
        if after.furthest_bytes > before.furthest_bytes:
            self.persistence.progressed()

    async def _send(self, lane: Lane, step: Append, checksum: Checksum | None) -> tuple[Standing, float]:
        """Send the append; where the reply makes a job, its id is committed before anything else can go wrong."""
        conversation = self.wire.append(lane, step.span, step.offset_bytes, checksum)
        watch = Watch(self._on_sent(lane.acked_bytes), self._before_final_byte)
        self._sent_bytes = 0
        started_s = self._clock.monotonic()
        try:
            standing = await self.exchanger.converse(conversation, self.hasher, watch)
            if standing.processing_id is not None:
                self.manifest.move(self.job.id, JobState.PROCESSING, processing_id=standing.processing_id)
        finally:
            seconds = self._clock.monotonic() - started_s
            cost = self._cost
            self._cost = replace(
                cost, sent_bytes=cost.sent_bytes + self._sent_bytes, sending_s=cost.sending_s + seconds
            )
        return standing, seconds

    async def _after(self, fault: Fault, state: LaneState, step: Create | Locate | Append) -> LaneState:
        if isinstance(step, Append):
            self._size.broke()
            if isinstance(fault, TooLarge) and not self._size.too_large(step.span.size_bytes):
                raise UploadRefused(f"The server takes no append of any size: {fault.message}") from fault
            if not self.wire.resumable:
                self._settle_ambiguity(fault)
                if isinstance(fault, Gone):
                    raise UploadRefused(
                        f"The service has no upload call there: {fault.message}",
                        hint="check SPEECHSTREAM_ENDPOINT; it usually ends with /v1",
                    ) from fault
        state = policy.failed(state, step, fault)
        await self.persistence.wait(fault, "The upload")
        return state

    def _settle_ambiguity(self, fault: Fault) -> None:
        """The single request failed: it may be repeated unless it left whole and nobody said no."""
        undecided = isinstance(fault, _UNDECIDED) or (isinstance(fault, Busy) and fault.retry_after_s is None)
        if fault.sent_all and undecided:
            if self.manifest.job(self.job.id).state is JobState.SUBMITTING:
                self.manifest.move(self.job.id, JobState.AMBIGUOUS, failure=fault.message)
            raise ambiguous(self.job.id, fault.message) from fault
        if self.manifest.job(self.job.id).state is JobState.SUBMITTING:
            self.manifest.move(self.job.id, JobState.UPLOADING)

    async def _before_final_byte(self) -> None:
        self.manifest.move(self.job.id, JobState.SUBMITTING)

    async def _checksum(self, span: Span) -> Checksum | None:
        algorithm = self.wire.checksum_algorithm
        if algorithm is None:
            return None

        def compute() -> bytes:
            return _HASHES[algorithm](self.file.read_now(span.start, span.size_bytes))

        return Checksum(algorithm, await anyio.to_thread.run_sync(compute))

    def _commit(self, state: LaneState) -> None:
        lane = state.lane
        if lane.url is not None:
            lane = replace(lane, url=Secret(relative_to(self.base_url, lane.url.reveal())))
        cost, self._cost = self._cost, Tally()
        self.manifest.save_lane(self.job.id, lane, self.hasher.taken(), cost if cost != Tally() else None)

    def _on_sent(self, acked_bytes: int) -> Callable[[int], None]:
        def sent(size_bytes: int) -> None:
            self._sent_bytes += size_bytes
            if self._clock.monotonic() - self._reported_s >= _REPORT_EVERY_S:
                self._show(acked_bytes, self._sent_bytes)

        return sent

    def _show(self, acked_bytes: int, unconfirmed_bytes: int) -> None:
        """Tell how far it is; never back, whatever the server lost."""
        self._reported_s = self._clock.monotonic()
        self._shown_bytes = max(self._shown_bytes, acked_bytes)
        total = self.file.size_bytes
        unconfirmed = max(0, acked_bytes + unconfirmed_bytes - self._shown_bytes)
        self.emit(Uploaded(self.job.id, self._shown_bytes, total, min(unconfirmed, total - self._shown_bytes)))


def ambiguous(job_id: str, why: str) -> AmbiguousUpload:
    """The error for a single-request upload that may or may not have made a job."""
    return AmbiguousUpload(
        f"The recording was sent whole and no answer came back, so the service may have a job for it: {why}",
        hint=(
            "look into the service's own list of jobs; if it has none: "
            f"`speechstream resume {job_id} --on-ambiguous retry`"
        ),
    )

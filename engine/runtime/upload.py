"""Carries one lane to the server: performs the steps that `core.lane` decides, and commits what they prove.

The order is what makes a kill harmless: an offer is committed before its first byte leaves, an acknowledged offset with
its parts' digests before anyone is told.
"""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import xxhash
from msgspec import Struct
from msgspec.structs import replace

from ..core import lane as policy
from ..core.lane import Append, Await, Create, Doubt, Finished, LaneState, Locate
from ..errors import AmbiguousUpload, UploadRefused
from ..events import Warned
from ..faults import Busy, Corrupted, Fault, Gone, Interrupted, Nonsense, Refused, ServerTrouble, Throttled, TooLarge
from ..model import JobKind, JobState, Limits, Proof, Span, Tally
from ..redaction import Secret
from ..wire.address import relative_to, resolve
from ..wire.tus import Checksum
from .sending import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.pacing import RequestSize
    from ..events import Event
    from ..model import JobRecord, Lane, Standing
    from ..wire.interface import Wire
    from .artifact import ArtifactFile, PartHasher
    from .clock import Clock
    from .lanes import Lanes
    from .line import Line
    from .manifest import Manifest
    from .meter import Meter
    from .persist import Persistence
    from .supply import Supply
    from .turns import Turns
    from .workforce import Workforce

_HASHES: Final[dict[str, Callable[[bytearray], bytes]]] = {
    "sha1": lambda payload: hashlib.sha1(payload, usedforsecurity=False).digest(),
    "sha256": lambda payload: hashlib.sha256(payload).digest(),
    "xxh3-128": xxhash.xxh3_128_digest,
}
_UNDECIDED: Final = (Interrupted, ServerTrouble, Nonsense)  # nobody said no: the request may have had its effect


class LaneUpload(Struct):
    """One lane on its way. Owned by one task, as is `size`, which what was learnt from earlier lanes comes along in."""

    job: JobRecord
    base_url: str
    wire: Wire
    line: Line
    manifest: Manifest
    file: ArtifactFile
    hasher: PartHasher
    persistence: Persistence
    turns: Turns
    emit: Callable[[Event], None]
    meter: Meter
    supply: Supply
    lanes: Lanes
    workforce: Workforce
    size: RequestSize
    _tried: bool = False  # whether the server looks at checksums
    _held_back: LaneState | None = None  # acknowledged: the next offer, which follows at once, commits it too
    _uncommitted_bytes: int = 0  # sent since the last commit, which carries the cost along

    @property
    def _clock(self) -> Clock:
        return self.persistence.clock

    @property
    def _share_bytes_s(self) -> float | None:
        return None if self.meter.allowance is None else self.meter.allowance.share_bytes_s

    async def run(self, lane: Lane, *, submission_follows: bool) -> tuple[LaneState, str | None]:
        """Bring the lane to its end, or to where its worker is wanted back.

        Returns its state, and a processing_id where the wire's last reply has one.

        Where no submission follows, a lane whose resource vanished after its last byte cannot be proved
        complete: it goes again.

        Raises:
            SpeechStreamError: what `core.lane` will not go on from, or the end of patience.
        """
        url = None if lane.url is None else resolve(self.base_url, lane.url.reveal())
        state = LaneState(replace(lane, url=url))
        self.meter.acked(lane.index, lane.acked_bytes)
        try:
            return await self._to_its_end(state, submission_follows=submission_follows)
        finally:
            if self._held_back is not None:
                self._commit(self._held_back)
            if self._uncommitted_bytes:
                self.manifest.add_to_tally(self.job.id, self._cost())

    async def _to_its_end(self, state: LaneState, *, submission_follows: bool) -> tuple[LaneState, str | None]:
        index = state.lane.index
        while True:
            state = policy.cut(state, self.lanes.stop_of(index))
            if self.supply.ended:
                state = policy.ending_at(state, self.supply.stop)
            if self.workforce.wants_back(self.job.id):
                return state, None
            step = policy.next_step(
                state, self._request_bytes(state.lane), self.supply.stop, divisible=self.lanes.divisible
            )
            self.lanes.sends(state.lane, step.span.stop if isinstance(step, Append) else state.lane.remaining.start)
            if isinstance(step, Await):
                await self.supply.wait_beyond(step.offset)
                continue
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

    def _request_bytes(self, lane: Lane) -> int:
        if not self.wire.resumable:
            return self.file.size_bytes
        if lane.partial:
            self.size.aim(self.lanes.request_s)
        most = self.lanes.most_bytes(lane) if self.wire.limits.exact_bytes is None else None
        wanted = self.size.bytes(self._share_bytes_s)
        return wanted if most is None else min(wanted, most)

    async def _perform(self, state: LaneState, step: Create | Locate | Append) -> tuple[LaneState, str | None]:
        match step:
            case Create():
                began_s = self._clock.monotonic()
                made = await self.line.converse(self.wire.create(state.lane, step.size_bytes))
                self.lanes.created(self._clock.monotonic() - began_s)
                url, expires_at = (made.url, made.expires_at) if made else (None, None)
                state = policy.created(state, url, expires_at, deferred=step.size_bytes is None)
                if not self._appends_at_once(state):  # an append commits the same, and more, before it sends a byte
                    self._commit(state)
                self.persistence.progressed()
                return state, None
            case Locate():
                standing = await self.line.converse(self.wire.locate(state.lane))
                before = state
                state = policy.located(state, standing)
                self._commit(state)
                self._refill(before, state)
                return state, None
            case Append():
                return await self._append(state, step)

    async def _append(self, state: LaneState, step: Append) -> tuple[LaneState, str | None]:
        if self._is_untried(state, step):
            return await self._try_its_checks(state, step), None
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
        before, state = state, policy.appended(state, step, standing, checked=checksum is not None)
        self._held_back = state
        self.size.took(state.lane.acked_bytes - step.offset_bytes, seconds)
        if not self._appends_at_once(state):
            self._commit(state)
        self._refill(before, state)
        self.lanes.arrived(state.lane.index, state.lane.acked_bytes)
        if state.doubt is not Doubt.NONE:
            fault = Busy("the server called an append a success and took nothing of it")
            await self.persistence.wait(fault, "The upload")
        return state, None

    def _is_untried(self, state: LaneState, step: Append) -> bool:
        """Whether the end line may come to say that the server compared the bytes, and nobody knows if it does."""
        alone = self.job.kind is JobKind.DELIVERY and not state.lane.partial
        checks = self.wire.checksum_algorithm is not None and state.lane.checked
        return alone and checks and not self._tried and not step.offset_bytes and step.span.size_bytes > 0

    async def _try_its_checks(self, state: LaneState, step: Append) -> LaneState:
        """Send bytes that are right with a checksum that is not: who takes them compares nothing, and nothing is lost.

        Servers are known that advertise the extension and ignore the header. A server that looks says 460 and keeps
        none of it (tus 1.0.0, checksum).
        """
        self._tried = True
        if self.wire.limits == Limits(max_bytes=self.wire.limits.max_bytes):
            step = Append(Span(step.span.start, step.span.start + 1), step.offset_bytes)
        state = policy.offering(state, step)
        self._commit(state)
        right = await self._checksum(step.span)
        wrong = None if right is None else replace(right, digest=bytes(byte ^ 0xFF for byte in right.digest))
        try:
            standing, _ = await self._send(state.lane, step, wrong)
        except Corrupted:
            return replace(state, doubt=Doubt.OFFSET)
        except Refused:
            return replace(state, lane=replace(state.lane, checked=False), doubt=Doubt.OFFSET)
        state = policy.appended(state, step, standing)
        self._commit(state)
        return state

    def _appends_at_once(self, state: LaneState) -> bool:
        return isinstance(policy.next_step(state, self.size.bytes(), self.supply.stop), Append)

    def _refill(self, before: LaneState, after: LaneState) -> None:
        """Only a byte further than ever is progress: what a server loses and takes again must not buy patience."""
        if after.furthest_bytes > before.furthest_bytes:
            self.persistence.progressed()

    async def _send(self, lane: Lane, step: Append, checksum: Checksum | None) -> tuple[Standing, float]:
        """Send the append; where the reply makes a job, its id is committed before anything else can go wrong."""
        conversation = self.wire.append(
            lane, step.span, step.offset_bytes, declare_bytes=step.declare_bytes, checksum=checksum
        )

        def on_sent(size_bytes: int) -> None:
            self._uncommitted_bytes += size_bytes

        def on_arrived(size_bytes: int) -> None:
            self.meter.arrived(lane.index, size_bytes)
            self.lanes.arrived(lane.index, step.offset_bytes + size_bytes)

        started_s = self._clock.monotonic()
        with self.meter.sending():
            watch = Watch(on_sent, on_arrived, self._before_final_byte, self.meter.allowance)
            standing = await self.line.converse(conversation, self.hasher, watch)
            if standing.processing_id is not None:
                self.manifest.move(
                    self.job.id,
                    JobState.PROCESSING,
                    processing_id=standing.processing_id,
                    proof=Proof.LENGTH,
                    uploaded_at=self._clock.wall(),
                )
                self.manifest.save_digests(self.job.id, self.hasher.taken())
        return standing, self._clock.monotonic() - started_s

    async def _after(self, fault: Fault, state: LaneState, step: Create | Locate | Append) -> LaneState:
        if isinstance(step, Append):
            self.size.broke()
            if isinstance(fault, TooLarge) and not self.size.too_large(step.span.size_bytes):
                raise UploadRefused(
                    f"The server does not take {step.span.size_bytes} bytes at once, and no less may be sent: "
                    f"{fault.message}",
                    hint="what was acknowledged is kept; `--request-size` names a size that the server takes",
                ) from fault
            if not self.wire.resumable:
                self._settle_ambiguity(fault)
                if isinstance(fault, Gone):
                    raise UploadRefused(
                        f"The service has no upload call there: {fault.message}",
                        hint="check SPEECHSTREAM_ENDPOINT; it usually ends with /v1",
                    ) from fault
        if isinstance(fault, Throttled) or (isinstance(fault, Busy) and fault.retry_after_s is not None):
            self.workforce.refused(self._clock.monotonic())
        state = policy.failed(state, step, fault)
        if isinstance(fault, TooLarge) and fault.retry_after_s is None:
            return state  # the next one is smaller: there is nothing to wait for
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
        if algorithm is None or not span.size_bytes:
            return None

        def compute() -> bytes:
            return _HASHES[algorithm](self.file.read_now(span.start, span.size_bytes))

        return Checksum(algorithm, await anyio.to_thread.run_sync(compute))

    def _commit(self, state: LaneState) -> None:
        lane = policy.cut(state, self.lanes.stop_of(state.lane.index)).lane
        if lane.url is not None:
            lane = replace(lane, url=Secret(relative_to(self.base_url, lane.url.reveal())))
        cost = self._cost()
        self.manifest.save_lane(self.job.id, lane, self.hasher.taken(), cost if cost != Tally() else None)
        self._held_back = None
        self.meter.acked(lane.index, lane.acked_bytes)

    def _cost(self) -> Tally:
        """What sending cost since this was last asked."""
        sent_bytes, self._uncommitted_bytes = self._uncommitted_bytes, 0
        return Tally(sent_bytes=sent_bytes, sending_s=self.meter.take_sending_s())


def ambiguous(job_id: str, why: str) -> AmbiguousUpload:
    """The error for a single-request upload that may or may not have made a job."""
    return AmbiguousUpload(
        f"The recording was sent whole and no answer came back, so the service may have a job for it: {why}",
        hint=(
            "look into the service's own list of jobs; if it has none: "
            f"`speechstream resume {job_id} --on-ambiguous retry`"
        ),
    )

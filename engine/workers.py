"""The workers of one upload: each takes lane after lane over a connection of its own, as many as are of use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from .core.pacing import RequestSize
from .model import JobKind
from .redaction import Secret
from .runtime.artifact import PartHasher
from .runtime.lanes import Lanes
from .runtime.meter import Meter
from .runtime.pace import LOOK_EVERY_S
from .runtime.together import together
from .runtime.upload import LaneUpload
from .wire.address import relative_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .model import JobRecord, Lane, Plan
    from .runtime.artifact import ArtifactFile
    from .runtime.crew import Crew
    from .runtime.line import Line
    from .runtime.persist import Persistence
    from .runtime.supply import Supply
    from .runtime.turns import Turns
    from .wire.interface import Wire


@dataclass(slots=True, eq=False, repr=False)
class Workers:
    """Those who bring lanes of one upload to their end. There are never more than `most` at once.

    How many there are below that is for the process's workforce to say, which lends them their places. Once all that is
    left of every lane is under way, `before_the_end` is awaited beside it.
    """

    job: JobRecord
    plan: Plan
    base_url: str
    wire: Wire
    most: int
    crew: Crew
    turns: Turns
    persistence: Persistence
    supply: Supply
    file: ArtifactFile
    before_the_end: Callable[[], Awaitable[None]] | None = None
    _known: Mapping[int, bytes] = field(init=False)
    _meter: Meter = field(init=False)
    _board: Lanes = field(init=False)
    _at_work: int = 0
    _processing_id: str | None = None
    _is_told: anyio.Event = field(default_factory=anyio.Event)

    async def bring(self, lanes: Sequence[Lane], doubted: Sequence[Lane], *, divisible: bool) -> str | None:
        """Bring the `doubted` of all `lanes` to their end. Returns a processing_id where a reply has one.

        Raises:
            SpeechStreamError: what cannot be gone on from; all that was acknowledged is kept.
        """
        crew, job = self.crew, self.job
        self._known = crew.manifest.digests(job.id)
        self._meter = Meter(job.id, self.supply, crew.clock, crew.emit, crew.exchanger.pace.of(job.id))
        for lane in lanes:
            self._meter.known(lane.index, lane.acked_bytes)
        self._board = Lanes(job.id, lanes, doubted, self.supply, crew.manifest, crew.clock, divisible=divisible)
        await self._employ()
        return self._processing_id

    async def _employ(self) -> None:
        """Have workers at the lanes, as many as are of use, until all are done."""
        workforce, pace, upload, board = (
            self.crew.exchanger.workforce,
            self.crew.exchanger.pace,
            self.job.id,
            self._board,
        )
        workforce.join(upload, board.wake)
        try:
            async with together() as tasks:
                tasks.start_soon(board.follow)
                asked = False
                while not (board.finished and not self._at_work):
                    most = pace.of(upload).lanes(self.most)
                    workforce.limit(upload, limited=pace.of(upload).limit_bytes_s is not None)
                    while workforce.admits(upload, most):
                        lane = board.take()
                        if lane is None:
                            break
                        workforce.took(upload)
                        self._at_work += 1
                        tasks.start_soon(self._work, lane)
                    if self.before_the_end is not None and not asked and board.all_under_way:
                        asked = True
                        tasks.start_soon(self._near_the_end)
                    with anyio.move_on_after(LOOK_EVERY_S):  # what a limit is worth may change meanwhile
                        await board.changed()
                if asked:
                    await self._is_told.wait()
                tasks.cancel_scope.cancel()
        finally:
            workforce.leave(upload)

    async def _near_the_end(self) -> None:
        if self.before_the_end is not None:
            await self.before_the_end()
        self._is_told.set()

    async def _work(self, lane: Lane | None) -> None:
        """Take lane after lane over one connection, until there is none or the place is wanted back."""
        workforce, board, upload = self.crew.exchanger.workforce, self._board, self.job.id
        size = RequestSize(self.wire.limits)  # what one lane finds out of link and server holds for the next
        if board.first_bytes is not None:
            size.begin_at(board.first_bytes)
        persistence = self.persistence.beside()
        async with self.crew.exchanger.line() as line:
            while lane is not None:
                follows = self.job.kind is JobKind.TRANSCRIPTION and not lane.partial
                sender = self._sender(line, persistence, size)
                state, processing_id = await sender.run(lane, submission_follows=follows)
                self._processing_id = self._processing_id or processing_id
                if workforce.wants_back(upload) and not state.lane.complete:
                    board.put_back(self._as_stored(state.lane))
                    break
                board.done(lane.index)
                lane = board.take()
        workforce.gave_back(upload)
        self._at_work -= 1
        board.wake()

    def _sender(self, line: Line, persistence: Persistence, size: RequestSize) -> LaneUpload:
        return LaneUpload(
            job=self.job,
            base_url=self.base_url,
            wire=self.wire,
            line=line,
            manifest=self.crew.manifest,
            file=self.file,
            hasher=PartHasher(self.file, self.plan, self._known),
            persistence=persistence,
            turns=self.turns,
            emit=self.crew.emit,
            meter=self._meter,
            supply=self.supply,
            lanes=self._board,
            workforce=self.crew.exchanger.workforce,
            size=size,
        )

    def _as_stored(self, lane: Lane) -> Lane:
        """The lane with its address without the server's."""
        if lane.url is None:
            return lane
        return replace(lane, url=Secret(relative_to(self.base_url, lane.url.reveal())))

"""An artifact's way to the server: the wire chosen, the plan made, every lane brought to its end, the lanes joined."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from .choosing import Manner, WireChoice
from .core.plan import DIVISIBLE_BYTES, OPEN_PART_SIZE_BYTES, lane_count, make_plan, open_lane
from .errors import InternalError
from .events import Warned
from .joining import Joining
from .model import OPEN_END, Lane, Plan, Span
from .redaction import Secret
from .runtime.supply import Sealed
from .runtime.together import together
from .wire.address import relative_to
from .wire.interface import TusWire
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .model import ArtifactRecord, JobRecord
    from .runtime.artifact import ArtifactFile
    from .runtime.crew import Crew
    from .runtime.manifest import Manifest
    from .runtime.persist import Persistence
    from .runtime.supply import Growth, Supply
    from .runtime.turns import Turns
    from .wire.interface import Wire

T = TypeVar("T")
log = logging.getLogger("speechstream.upload")
MAX_JOINS: Final = 3  # refusals to join lanes that all say they are complete, before one lane is used instead


class Uploading(Struct):
    """One upload of one job, from wherever it stands.

    An artifact that is still being written has a `growth`, whose `end` commits where it ended: it returns the job and
    the artifact as they are from then on.
    """

    job: JobRecord
    artifact: ArtifactRecord
    base_url: str
    manner: Manner
    crew: Crew
    turns: Turns
    persistence: Persistence
    open_artifact: Callable[[JobRecord], ArtifactFile]
    growth: Growth | None = None
    end: Callable[[], Awaitable[JobRecord]] | None = None

    async def carry(self) -> str | None:
        """Bring the whole artifact to the server. Returns a processing_id where the wire's last reply has one.

        Raises:
            SpeechStreamError: what cannot be gone on from; all that was acknowledged is kept.
        """
        begun = any(lane.created for lane in self._manifest.lanes(self.job))  # a lost key is told of before one is made
        async with together() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, self._manifest.prepare_to_seal)
            wire = await self._choose(begun=begun)
        if self.growth is not None and (not _defers(wire) or self._is_still_all_here()):
            await self._ended()
        lanes = self._planned(wire)
        joining = self._joining(wire, lanes)
        if joining is not None and await joining.take_up(lanes, self._supply.stop):
            return None
        refusals = 0
        while True:
            doubted = [lane for lane in lanes if refusals or not lane.complete]  # a refused join casts doubt on all
            if doubted or self.growth or lanes[-1].span.stop < self._supply.stop:
                ahead = None if joining is None or refusals else joining
                processing_id = await self._bring(wire, lanes, doubted, ahead)
                if processing_id is not None:
                    return processing_id
                if self.growth is not None:
                    await self._ended()
                    lanes = self._manifest.lanes(self.job)
                    continue
                lanes = self._manifest.lanes(self.job)
            if joining is None or await joining.join(lanes):
                return None
            refusals += 1
            if refusals == MAX_JOINS:
                self._warn("the server takes lanes and will not join them; everything is sent again in one")
                lanes, joining = self._plan(wire, partial=False), None

    @property
    def _manifest(self) -> Manifest:
        return self.crew.manifest

    @property
    def _supply(self) -> Supply:
        return self.growth or Sealed(self.artifact.size_bytes)

    def _is_still_all_here(self) -> bool:
        """Whether the artifact has ended before anything was planned: then its length can be told at once."""
        return self.growth is not None and self.growth.ended and not self._manifest.lanes(self.job)

    async def _ended(self) -> None:
        if self.end is None:
            raise InternalError(f"job {self.job.id} grows and has no end")
        self.job = await self.end()
        if self.job.artifact is None:
            raise InternalError(f"job {self.job.id} has ended without an artifact")
        self.artifact, self.growth = self.job.artifact, None

    def _warn(self, message: str) -> None:
        self.crew.emit(Warned(self.job.id, message))

    # -- plan ------------------------------------------------------------------------------------

    async def _choose(self, *, begun: bool) -> Wire:
        crew, persistence = self.crew, self.persistence
        return await WireChoice(
            self.job, self.artifact, self.base_url, begun, self.manner, crew.manifest, crew.exchanger, persistence
        ).make()

    def _planned(self, wire: Wire) -> list[Lane]:
        """The lanes that there are, or those of a plan made now."""
        lanes = self._manifest.lanes(self.job)
        if lanes:
            return lanes
        several = self.manner.max_lanes > 1 and isinstance(wire, TusWire) and wire.joins
        return self._plan(wire, partial=several)

    def _plan(self, wire: Wire, *, partial: bool) -> list[Lane]:
        """Plan anew. A growing artifact gets its further lanes as it grows."""
        if self.growth is not None:
            plan = Plan(OPEN_PART_SIZE_BYTES, 0, (open_lane(0) if partial else Span(0, OPEN_END),))
        else:
            size_bytes = self.artifact.size_bytes
            plan = make_plan(size_bytes, lanes=lane_count(size_bytes, self.manner.max_lanes) if partial else 1)
            partial = partial and (len(plan.lanes) > 1 or (_defers(wire) and size_bytes >= DIVISIBLE_BYTES))
        generation = max(
            [
                self._manifest.job(self.job.id).join_count,
                *(lane.generation + 1 for lane in self._manifest.lanes(self.job)),
            ]
        )
        lanes = [Lane(index, span, generation=generation, partial=partial) for index, span in enumerate(plan.lanes)]
        if self.manner.upload_url is not None:
            url = Secret(relative_to(self.base_url, self.manner.upload_url.reveal()))
            lanes = [replace(lanes[0], created=True, url=url, offered_bytes=lanes[0].span.size_bytes)]
        self.job = self._manifest.save_plan(self.job.id, plan, lanes, wire.name)
        return lanes

    # -- lanes -----------------------------------------------------------------------------------

    def _joining(self, wire: Wire, lanes: Sequence[Lane]) -> Joining | None:
        if not isinstance(wire, TusWire) or not lanes[0].partial:
            return None
        return Joining(self.job.id, self.base_url, wire, self.crew, self.persistence)

    async def _bring(
        self, wire: Wire, lanes: Sequence[Lane], doubted: Sequence[Lane], joining: Joining | None
    ) -> str | None:
        """Bring the `doubted` of all `lanes` to their end, over as many connections at once as are of use."""
        plan = self.job.plan
        if plan is None:
            raise InternalError(f"job {self.job.id} is uploaded without a plan")
        if self.growth is not None:
            plan = replace(plan, total_bytes=OPEN_END)
        with self.open_artifact(self.job) as file:
            file.check()
            workers = Workers(
                job=self.job,
                plan=plan,
                base_url=self.base_url,
                wire=wire,
                most=self.manner.max_lanes,
                crew=self.crew,
                turns=self.turns,
                persistence=self.persistence,
                supply=self._supply,
                file=file,
                before_the_end=joining.ahead if joining is not None and joining.wire.joins_ahead else None,
            )
            return await workers.bring(lanes, doubted, divisible=_defers(wire) and lanes[0].partial)


def _defers(wire: Wire) -> bool:
    """Whether the wire takes lanes without a length."""
    return isinstance(wire, TusWire) and wire.defers

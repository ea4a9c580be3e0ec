"""The lanes of one upload while it is under way: which are free, who is at work on which, and where one may be cut.

Where a worker finds no free lane, the lane that would take longest is cut in two: its worker keeps the bytes up to the
end of the request that is under way and half of the rest. So an upload does not end on one slow lane. Only lanes whose
length the server has not been told can be cut.

Where lanes turn out to be done in no time, a worker takes several neighbours as one: each costs the server a creation,
and its share of the join. They stay small where that matters, since what a repair sends again is a lane.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from msgspec import Struct
from msgspec.structs import replace

from ..core.plan import CUT_MULTIPLE_BYTES, cut_at, next_open_lane
from ..model import MOST_LANES, OPEN_END, Lane, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .clock import Clock
    from .manifest import Manifest
    from .supply import Supply

FIRST_SETUP_S: Final = 0.3  # what a new lane costs before it sends, until that has been measured
SETUPS_KEPT: Final = 5
REQUEST_SETUPS: Final = 4.0  # of a request's time; its own round trip is about a quarter of that
SETUPS_WORTH: Final = 2.5  # a lane is cut where the rest would take so many times as long as a new lane costs
LEAST_MEASURED_S: Final = 0.5
LEAST_COMMON_S: Final = 0.1  # what many have moved together is soon known well enough to take more at once
LEAST_REQUEST_S: Final = 2.0
AMPLE_REQUEST_S: Final = 8.0  # with 150 ms of round trip, the pause between two requests costs 2 %
FULL_LANE_S: Final = 2.0  # neighbours are taken as one until they keep a worker busy for so long
MOST_LANE_BYTES: Final = 256 << 20
HALVES: Final = 2


class _Work(Struct):
    """A lane that a worker is at. `reserved_stop` is the end of what it is about to send."""

    lane: Lane
    began_s: float
    reserved_stop: int
    divisible: bool = True
    first_bytes: int = 0
    arrived_bytes: int = 0


class Lanes:
    """All lanes of one upload. `divisible` where the server takes lanes without a length."""

    def __init__(  # noqa: PLR0913 - what it is made of, each its own thing
        self,
        job_id: str,
        lanes: Sequence[Lane],
        doubted: Iterable[Lane],
        supply: Supply,
        manifest: Manifest,
        clock: Clock,
        *,
        divisible: bool,
    ) -> None:
        self._job_id = job_id
        self._all = {lane.index: lane.span for lane in lanes}
        self._free = deque(doubted)
        self._work: dict[int, _Work] = {}
        self._supply = supply
        self._manifest = manifest
        self._clock = clock
        self.divisible = divisible
        self._setups_s = deque([FIRST_SETUP_S / HALVES], maxlen=SETUPS_KEPT)
        self._began_s: float | None = None
        self._arrived_bytes = 0
        self._open_stop = max(span.stop for span in self._all.values())
        self._changed = anyio.Event()

    # -- for who employs the workers -----------------------------------------------------------------

    def take(self) -> Lane | None:
        """A lane for one more worker, or None if nothing is left that is worth one."""
        lane = self._with_neighbours(self._free.popleft()) if self._free else self._cut_off()
        if lane is not None:
            began_s, offered = self._clock.monotonic(), lane.span.start + lane.offered_bytes
            self._began_s = began_s if self._began_s is None else self._began_s
            self._work[lane.index] = _Work(lane, began_s, offered, first_bytes=lane.acked_bytes)
        return lane

    @property
    def finished(self) -> bool:
        """Whether all is done, and nothing more will come."""
        if self._free or self._work:
            return False
        return self._open_stop >= self._supply.stop and (self._supply.ended or self._open_stop == OPEN_END)

    @property
    def all_under_way(self) -> bool:
        """Whether there is nothing left to be taken from anybody: the lanes stay as they are, if all goes well."""
        if self._free or not self._work or not self._supply.ended or self._open_stop < self._supply.stop:
            return False
        stop = self._supply.stop
        return all(work.reserved_stop >= min(self._all[index].stop, stop) for index, work in self._work.items())

    async def follow(self) -> None:
        """Open further lanes as the artifact comes to need them, while it grows or because it ended in another run."""
        while self._open_stop < OPEN_END:
            await self._supply.wait_beyond(self._open_stop)
            if self._supply.stop > self._open_stop:
                span = next_open_lane(self._open_stop, last=len(self._all) == MOST_LANES - 1)
                self._add(Lane(self._next_index(), span, partial=True))
                self._manifest.save_lane(self._job_id, self._free[-1])
                self._open_stop = span.stop
            elif self._supply.ended:
                break
        self.wake()

    async def changed(self) -> None:
        """Return when there may be something to take, or nothing any more."""
        await self._changed.wait()
        self._changed = anyio.Event()

    def wake(self) -> None:
        """Have `changed` return."""
        self._changed.set()

    # -- for a worker --------------------------------------------------------------------------------

    def stop_of(self, index: int) -> int:
        """Where the lane ends now."""
        return self._all[index].stop

    @property
    def request_s(self) -> float:
        """How long one request should take: each costs a round trip, and others cannot take what is under way.

        They have no need to while there are lanes enough.
        """
        ample = len(self._free) >= len(self._work)
        return max(AMPLE_REQUEST_S if ample else LEAST_REQUEST_S, REQUEST_SETUPS * self._setup_s)

    @property
    def first_bytes(self) -> int | None:
        """What a new lane's first request should have, going by what those at work move; None while that is unknown."""
        rates = [rate for work in self._work.values() if (rate := self._rate(work)) is not None]
        return int(sum(rates) / (len(rates) + 1) * self.request_s) if rates else None

    def most_bytes(self, lane: Lane) -> int | None:
        """How much of the lane one request may take at most, so that there is something left for others to take."""
        if self._free or not self._may_cut(self._work[lane.index]):
            return None
        rest = min(lane.remaining.stop, self._supply.stop) - lane.remaining.start
        rate = self._rate(self._work[lane.index])
        if rest < HALVES * CUT_MULTIPLE_BYTES or rate is None or rest / rate < HALVES * SETUPS_WORTH * self._setup_s:
            return None
        return rest // HALVES

    def sends(self, lane: Lane, until: int) -> None:
        """The worker is about to send the bytes up to `until`; those beyond may be taken from it.

        Of what was ever offered nobody knows how much the server has.
        """
        work = self._work[lane.index]
        work.lane, work.reserved_stop = lane, max(until, lane.span.start + lane.offered_bytes)
        work.divisible = lane.partial and (lane.deferred or not lane.created)
        if not self._free:
            self.wake()

    def arrived(self, index: int, acked_bytes: int) -> None:
        """So many bytes of the lane have arrived."""
        work = self._work[index]
        self._arrived_bytes += max(0, acked_bytes - max(work.arrived_bytes, work.first_bytes))
        work.arrived_bytes = max(work.arrived_bytes, acked_bytes)

    def created(self, seconds: float) -> None:
        """Making a lane took so long."""
        self._setups_s.append(seconds)

    @property
    def _setup_s(self) -> float:
        """What a new lane costs before it sends, and at its end, as a rule: one made in an outage does not tell."""
        return HALVES * sorted(self._setups_s)[(len(self._setups_s) - 1) // 2]

    def put_back(self, lane: Lane) -> None:
        """The worker leaves the lane unfinished."""
        del self._work[lane.index]
        self._free.appendleft(replace(lane, span=self._all[lane.index]))
        self.wake()

    def done(self, index: int) -> None:
        """The worker has brought the lane to its end."""
        del self._work[index]
        self.wake()

    # ------------------------------------------------------------------------------------------------

    def _add(self, lane: Lane) -> None:
        self._all[lane.index] = lane.span
        self._free.append(lane)
        self.wake()

    def _next_index(self) -> int:
        return max(self._all) + 1

    def _with_neighbours(self, lane: Lane) -> Lane:
        """The lane, and those after it that a worker would be done with at once."""
        wanted = min(FULL_LANE_S * self._common_rate(), MOST_LANE_BYTES)
        taken: list[Lane] = []
        stop = lane.span.stop
        while len(self._free) > len(self._work) + 1 and self._follows(lane, stop, self._free[0]):
            if self._free[0].span.stop - lane.span.start > wanted:
                break
            taken.append(self._free.popleft())
            stop = taken[-1].span.stop
        if not taken:
            return lane
        whole = replace(lane, span=Span(lane.span.start, stop))
        self._manifest.unite_lanes(self._job_id, whole, [each.index for each in taken])
        for each in taken:
            del self._all[each.index]
        self._all[whole.index] = whole.span
        return whole

    def _follows(self, lane: Lane, stop: int, other: Lane) -> bool:
        """Whether the other lane begins where this one ends, and nobody has done anything for either."""
        untouched = not (lane.created or other.created or lane.offered_bytes or other.offered_bytes)
        alike = lane.partial and other.partial and lane.generation == other.generation
        return self.divisible and untouched and alike and other.span.start == stop and other.span.stop < OPEN_END

    def _common_rate(self) -> float:
        """Bytes a second that one worker has moved on average; 0 while too little is known."""
        lasted_s = 0.0 if self._began_s is None else self._clock.monotonic() - self._began_s
        return self._arrived_bytes / lasted_s / (len(self._work) + 1) if lasted_s >= LEAST_COMMON_S else 0.0

    def _cut_off(self) -> Lane | None:
        """The second half of what is left of the lane that would take longest, as a lane of its own."""
        candidates = [(self._left_s(work), work) for work in self._work.values() if self._may_cut(work)]
        if not candidates:
            return None
        left_s, work = max(candidates, key=lambda found: found[0])
        if left_s < SETUPS_WORTH * self._setup_s:
            return None
        span = self._all[work.lane.index]
        cut = cut_at(work.reserved_stop, min(span.stop, self._supply.stop))
        if cut is None:
            return None
        kept = Span(span.start, cut)
        lane = Lane(self._next_index(), Span(cut, span.stop), partial=True, generation=work.lane.generation)
        self._manifest.divide_lane(self._job_id, work.lane.index, cut, lane)
        self._all[work.lane.index], self._all[lane.index] = kept, lane.span
        return lane

    def _may_cut(self, work: _Work) -> bool:
        return self.divisible and work.divisible and len(self._all) < MOST_LANES

    def _left_s(self, work: _Work) -> float:
        """How long what may be taken of the lane would keep its worker busy."""
        rate = self._rate(work)
        if rate is None:
            return 0.0
        left = min(self._all[work.lane.index].stop, self._supply.stop) - work.reserved_stop
        return left / rate

    def _rate(self, work: _Work) -> float | None:
        """Bytes a second on average; None where too little is known."""
        lasted_s = self._clock.monotonic() - work.began_s
        moved = work.arrived_bytes - work.first_bytes
        return moved / lasted_s if moved > 0 and lasted_s >= LEAST_MEASURED_S else None

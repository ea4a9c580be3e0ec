"""Holds every lane of this process to the rate that it may send at.

One gate for each limit: jobs with the same limit share it, lanes pass it in the order they came. Whoever waits there
looks once a second whether the limit is still the same, so it may change at any time, also by another process.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from ..core.pace import Bucket, Rules, lanes_worth, limit_in_force

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from ..timetable import Timetable
    from .clock import Clock
    from .courtesy import Courtesy

LOOK_EVERY_S: Final = 1.0
COURTEOUS_SLEEP_S: Final = 0.05


class _Gate(Struct):
    """Where lanes queue that share a rate."""

    bucket: Bucket
    turn: anyio.Lock = field(default_factory=anyio.Lock)


class Allowance(Struct, weakref=True):
    """How fast one job may send. Shared by its lanes, of which `senders` have a request under way."""

    job_id: str
    pace: Pace
    senders: int = 0
    _limit: int | None = None
    _looked_s: float = float("-inf")

    @property
    def limit_bytes_s(self) -> int | None:
        """The limit in force, in bytes a second; looked up at most once a second."""
        now_s = self.pace.clock.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._limit = self.pace.limit_of(self.job_id)
        return self._limit

    @property
    def polite(self) -> bool:
        """Whether it gives way to the user's other traffic."""
        return self.pace.courtesy is not None

    def lanes(self, most: int) -> int:
        """How many of `most` lanes are worth using at once."""
        return min(lanes_worth(limit, most) for limit in (self.limit_bytes_s, self.pace.courteous_bytes_s))

    @property
    def share_bytes_s(self) -> float | None:
        """What one more lane may expect to send at, in bytes a second; None where nothing limits it."""
        limit, courteous = self.limit_bytes_s, self.pace.courteous_bytes_s
        shares = [limit / (self.pace.senders(limit) + 1)] if limit is not None else []
        shares += [courteous / (self.pace.senders() + 1)] if courteous is not None else []
        return min(shares, default=None)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Around each request with bytes."""
        self.senders += 1
        try:
            yield
        finally:
            self.senders -= 1

    async def granted(self, most_bytes: int) -> int:
        """How many bytes, up to `most_bytes`, may go now; waits until it is at least one."""
        courtesy = self.pace.courtesy
        if courtesy is None:
            return await self._granted_by_limit(most_bytes)
        size_bytes = await self._granted_by_limit(min(most_bytes, courtesy.piece_bytes))
        await self.pace.pass_courteously(size_bytes)
        return size_bytes

    async def _granted_by_limit(self, most_bytes: int) -> int:
        while (gate := self._gate()) is not None:
            async with gate.turn:
                if await self._waited(gate):
                    size_bytes = min(most_bytes, gate.bucket.piece_bytes)
                    gate.bucket.spend(size_bytes, self.pace.clock.monotonic())
                    return size_bytes
        return most_bytes

    async def _waited(self, gate: _Gate) -> bool:
        """Wait for the next piece's moment; False where the limit became another one meanwhile."""
        clock = self.pace.clock
        while self._gate() is gate:
            wait_s = gate.bucket.wait_s(clock.monotonic())
            if wait_s <= 0:
                return True
            await clock.sleep(min(wait_s, LOOK_EVERY_S))
        return False

    def _gate(self) -> _Gate | None:
        limit = self.limit_bytes_s
        return None if limit is None else self.pace.gate(limit)


class Pace:
    """What limits this process, and who passes where.

    `own_limit` looks up what a job was given for itself, in bytes a second (0: no limit; None: nothing). `courtesy`
    holds all jobs together to what the user's other traffic leaves.
    """

    def __init__(
        self,
        clock: Clock,
        rules: Rules | None = None,
        *,
        timetable: Timetable | None = None,
        own_limit: Callable[[str], int | None] | None = None,
        courtesy: Courtesy | None = None,
    ) -> None:
        self.clock = clock
        self._rules = rules or Rules()
        self._timetable = timetable
        self._own_limit = own_limit
        self.courtesy = courtesy
        self._courteous = anyio.Lock()
        self._gates: dict[int, _Gate] = {}
        self._allowances: WeakValueDictionary[str, Allowance] = WeakValueDictionary()

    def of(self, job_id: str) -> Allowance:
        """The allowance of a job: one for all its lanes."""
        found = self._allowances.get(job_id)
        if found is None:
            found = self._allowances[job_id] = Allowance(job_id, self)
        return found

    def limit_of(self, job_id: str) -> int | None:
        """The limit that holds for a job now, in bytes a second."""
        rules = self._rules
        if self._timetable is not None:
            wall = datetime.fromtimestamp(self.clock.wall())  # noqa: DTZ006 - what the clock on the wall shows
            rules = replace(rules, timed=self._timetable.limit_at(wall))
        return limit_in_force(self._own_limit(job_id) if self._own_limit else None, rules)

    @property
    def courteous_bytes_s(self) -> float | None:
        """What courtesy allows all jobs together, in bytes a second; None where it does not limit them."""
        return None if self.courtesy is None else self.courtesy.rate_bytes_s

    def holds(self) -> bool:
        """Whether courtesy keeps all jobs together from sending more: what moves then says nothing of the link."""
        return self.courtesy is not None and self.courtesy.holds

    def follow(self, connection: socket.socket) -> None:
        """A new connection stands."""
        if self.courtesy is not None:
            self.courtesy.follow(connection)

    def look(self) -> None:
        """Called several times a second while requests are under way: nobody else may be awake."""
        if self.courtesy is not None:
            self.courtesy.look()

    async def pass_courteously(self, size_bytes: int) -> None:
        """Wait until so many bytes may go beside the user's other traffic."""
        if self.courtesy is None:
            return
        async with self._courteous:
            while (wait_s := self.courtesy.wait_s()) > 0:
                await self.clock.sleep(min(wait_s, COURTEOUS_SLEEP_S))
            self.courtesy.spend(size_bytes)

    def senders(self, limit_bytes_s: int | None = None) -> int:
        """How many requests with bytes are under way, of all who have this limit or, without one, of all."""
        every = self._allowances.values()
        return sum(one.senders for one in every if limit_bytes_s in {None, one.limit_bytes_s})

    def gate(self, limit_bytes_s: int) -> _Gate:
        """The one gate of all who have this limit."""
        found = self._gates.get(limit_bytes_s)
        if found is None:
            found = self._gates[limit_bytes_s] = _Gate(Bucket(limit_bytes_s, self.clock.monotonic()))
        return found

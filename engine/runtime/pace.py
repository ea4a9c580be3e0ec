"""Holds every lane of this process to the rate that it may send at.

One gate for each limit: jobs with the same limit share it, lanes pass it in the order they came. Whoever waits there
looks once a second whether the limit is still the same, so it may change at any time, also by another process.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import anyio

from ..core.pace import Bucket, Rules, lanes_worth, limit_in_force

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..timetable import Timetable
    from .clock import Clock

LOOK_EVERY_S: Final = 1.0


@dataclass(slots=True)
class _Gate:
    """Where lanes queue that share a rate."""

    bucket: Bucket
    turn: anyio.Lock = field(default_factory=anyio.Lock)


@dataclass(slots=True, weakref_slot=True)
class Allowance:
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

    def lanes(self, most: int) -> int:
        """How many of `most` lanes are worth using at once."""
        return lanes_worth(self.limit_bytes_s, most)

    @property
    def share_bytes_s(self) -> float | None:
        """What one more lane may expect to send at, in bytes a second; None where nothing limits it."""
        limit = self.limit_bytes_s
        return None if limit is None else limit / (self.pace.senders(limit) + 1)

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

    `own_limit` looks up what a job was given for itself, in bytes a second (0: no limit; None: nothing).
    """

    def __init__(
        self,
        clock: Clock,
        rules: Rules | None = None,
        *,
        timetable: Timetable | None = None,
        own_limit: Callable[[str], int | None] | None = None,
    ) -> None:
        self.clock = clock
        self._rules = rules or Rules()
        self._timetable = timetable
        self._own_limit = own_limit
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

    def senders(self, limit_bytes_s: int) -> int:
        """How many requests with bytes are under way of all who have this limit."""
        return sum(one.senders for one in self._allowances.values() if one.limit_bytes_s == limit_bytes_s)

    def gate(self, limit_bytes_s: int) -> _Gate:
        """The one gate of all who have this limit."""
        found = self._gates.get(limit_bytes_s)
        if found is None:
            found = self._gates[limit_bytes_s] = _Gate(Bucket(limit_bytes_s, self.clock.monotonic()))
        return found

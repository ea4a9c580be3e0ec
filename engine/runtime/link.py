"""Whether anything out there answers, as all workers know it: none knocks by itself, and all are woken at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from ..events import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from ..events import Event
    from .clock import Clock

LONGEST_REST_S: Final = 30.0  # then an attempt is made in spite of all: a knock could be wrong for ever


class Link:
    """Up until told otherwise. Counts the time it was down, which costs nobody's patience."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._down_since_s: float | None = None
        self._offline_s = 0.0
        self._up = anyio.Event()
        self._reason = ""
        self._listeners: dict[str, Callable[[Event], None]] = {}
        self._told: set[str] = set()
        self.keeper: Callable[[], Coroutine[None, None, None]] | None = None

    @property
    def down(self) -> bool:
        """Whether nothing answers at present."""
        return self._down_since_s is not None

    @property
    def reason(self) -> str:
        """Why it was last said to be down, in words for a person."""
        return self._reason

    @property
    def offline_s(self) -> float:
        """How long it has been down, in all."""
        lasting_s = 0.0 if self._down_since_s is None else self._clock.monotonic() - self._down_since_s
        return self._offline_s + lasting_s

    def went_down(self, lasted_s: float, reason: str) -> None:
        """Nothing has answered for `lasted_s`. Everyone who wants to know is told, once an outage."""
        if self._down_since_s is None:
            self._down_since_s = self._clock.monotonic() - lasted_s
            self._reason, self._up = reason, anyio.Event()
            self._told.clear()
        for job_id, emit in list(self._listeners.items()):
            if self.first_to_tell(job_id):
                emit(Waiting(job_id, reason, None))

    def came_up(self) -> None:
        """Something answered: whoever rests goes on."""
        if self._down_since_s is not None:
            self._offline_s += self._clock.monotonic() - self._down_since_s
            self._down_since_s = None
            self._up.set()

    def first_to_tell(self, job_id: str) -> bool:
        """Whether a job has not been told of this outage yet; from now on it has."""
        first = job_id not in self._told
        self._told.add(job_id)
        return first

    @contextmanager
    def telling(self, job_id: str, emit: Callable[[Event], None]) -> Iterator[None]:
        """Tell a job of every outage while the block runs."""
        self._listeners[job_id] = emit
        try:
            yield
        finally:
            self._listeners.pop(job_id, None)

    async def rest(self, seconds: float) -> None:
        """Sleep for so long; while the link is down until it is up, within `LONGEST_REST_S`."""
        if not self.down:
            await self._clock.sleep(seconds)
            return
        async with anyio.create_task_group() as tasks:
            if self.keeper is not None:
                tasks.start_soon(self.keeper)
            tasks.start_soon(self._end_when_up, tasks.cancel_scope)
            await self._clock.sleep(max(seconds, LONGEST_REST_S))
            tasks.cancel_scope.cancel()

    async def _end_when_up(self, scope: anyio.CancelScope) -> None:
        await self._up.wait()
        scope.cancel()

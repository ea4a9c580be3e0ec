"""Places for encoders, shared by all recordings that are prepared at once: one for every processor.

A place that becomes free goes to the recording that was begun first. Shared alike, all would be finished late; so the
first is finished as if it were alone, and the others use what it leaves.
"""

from __future__ import annotations

import heapq
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import RunVar
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Encoders(Struct):
    """So many `places`. Whoever asks for one says how early it is: lower goes first."""

    places: int
    _begun: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: list[tuple[int, int, anyio.Event]] = field(default_factory=list)

    def begin(self) -> int:
        """A recording is begun: its number, lower than that of any begun later."""
        return next(self._begun)

    @asynccontextmanager
    async def place(self, recording: int, piece: int) -> AsyncIterator[None]:
        """Hold a place for one piece of a recording."""
        if self.places:
            self.places -= 1
        else:
            await self._turn(recording, piece)
        try:
            yield
        finally:
            self._leave()

    async def _turn(self, recording: int, piece: int) -> None:
        turn = anyio.Event()
        heapq.heappush(self._waiting, (recording, piece, turn))
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # the place came in the moment in which nobody wanted it any more
                self._leave()
            else:
                self._waiting.remove((recording, piece, turn))
                heapq.heapify(self._waiting)
            raise

    def _leave(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[-1].set()
        else:
            self.places += 1


_SHARED: Final[RunVar[Encoders]] = RunVar("encoders")


def shared(places: int) -> Encoders:
    """The encoders of this event loop, which has so many places from the first call on."""
    try:
        return _SHARED.get()
    except LookupError:
        encoders = Encoders(places)
        _SHARED.set(encoders)
        return encoders

"""How much of the artifact there is to send: all of it, or as much as has been written so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import anyio
from msgspec import Struct, field

if TYPE_CHECKING:
    from .clock import Clock

WORTH_SENDING_BYTES: Final = 256 << 10  # a request for less costs more in round trips than it brings
WORTH_WAITING_S: Final = 1.0  # after which less than that goes as well: it is safer there than here
DEFAULT_IDLE_S: Final = 30.0  # recorders flush every few seconds; a pause button is another matter


class Source(Struct, frozen=True):
    """Where more of a growing recording comes from: an open pipe, or a file until it has not grown for `idle_s`."""

    descriptor: int | None = None
    idle_s: float = DEFAULT_IDLE_S


class Supply(Protocol):
    """What lanes may read."""

    @property
    def stop(self) -> int:
        """Bytes below this offset are final and can be read. A lane that ends at or below it has its length."""

    @property
    def ended(self) -> bool:
        """Whether nothing will come beyond `stop`."""

    async def wait_beyond(self, offset: int) -> None:
        """Return when there is something worth sending beyond `offset`, or the artifact has ended."""


class Sealed(Struct, frozen=True):
    """An artifact that is all there."""

    stop: int

    @property
    def ended(self) -> bool:
        """Yes."""
        return True

    async def wait_beyond(self, offset: int) -> None:
        """Nothing more will come."""


class Growth(Struct):
    """An artifact that somebody is still writing."""

    clock: Clock
    stop: int = 0
    ended: bool = False
    _moved: anyio.Event = field(default_factory=anyio.Event)
    _ended: anyio.Event = field(default_factory=anyio.Event)

    def reached(self, stop: int) -> None:
        """Bytes below `stop` are there for good."""
        if stop > self.stop:
            self.stop = stop
            self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._ended.set()
        self._wake()

    async def wait_for_end(self) -> None:
        """Return when nothing more will come."""
        await self._ended.wait()

    async def wait_beyond(self, offset: int) -> None:
        """Return when there is something worth sending beyond `offset`, or the artifact has ended."""
        while not self.ended and self.stop <= offset:
            await self._moved.wait()
        deadline_s = self.clock.monotonic() + WORTH_WAITING_S
        while not self.ended and self.stop - offset < WORTH_SENDING_BYTES:
            left_s = deadline_s - self.clock.monotonic()
            if left_s <= 0:
                return
            with anyio.move_on_after(left_s):
                await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

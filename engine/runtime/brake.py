"""One throttle for all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .link import Link

if TYPE_CHECKING:
    from .clock import Clock


class Brake:
    """One throttle for all workers: a 429 to any of them holds them all. `link` is what they know of the network."""

    def __init__(self, clock: Clock) -> None:
        self.link = Link(clock)
        self._clock = clock
        self._until_s = 0.0

    def hold(self, seconds: float) -> None:
        """Let no request go for so long."""
        self._until_s = max(self._until_s, self._clock.monotonic() + seconds)

    async def passed(self) -> None:
        """Wait until requests may go again."""
        while (left := self._until_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)

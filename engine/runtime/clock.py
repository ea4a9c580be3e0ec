"""Time and chance as one small interface, so that tests can run a day in a moment."""

from __future__ import annotations

import random
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the runtime may ask of time and chance."""

    def wall(self) -> float:
        """Seconds since the epoch: for what must hold across processes and reboots."""

    def monotonic(self) -> float:
        """Seconds that never go back: for what lasts."""

    def chance(self) -> float:
        """Uniform in [0, 1)."""

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""


class SystemClock:
    """The machine's own."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def chance(self) -> float:
        """Uniform in [0, 1); spreads clients, guards nothing."""
        return random.random()  # noqa: S311 - jitter, not a secret

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        await anyio.sleep(seconds)

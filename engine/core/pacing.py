"""How often and how much: the service's documented limits, and the size of one request.

A limit is kept by the client with a small margin, counted from the moment a reply arrived: a request that took long
on its way reached the server late, and the server counts from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from ..model import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB: Final = 1 << 20


class RateLimit(Struct, frozen=True):
    """At most `calls` within any `window_s` seconds, plus a margin for clocks that run unlike ours."""

    calls: int
    window_s: float
    margin_s: float = 0.0

    def wait_s(self, past: Sequence[float], now: float) -> float:
        """Seconds until the next call may go, given the times of past ones.

        A time in the future means that the clock was set back: it counts as now, so the wait stays bounded.
        """
        window_s = self.window_s + self.margin_s
        recent = sorted(min(at, now) for at in past if now - at < window_s)
        if len(recent) < self.calls:
            return 0.0
        return recent[-self.calls] + window_s - now


UPLOADS_PER_KEY: Final = RateLimit(calls=5, window_s=60.0, margin_s=0.5)  # documented: 5 uploads a minute
STATUS_PER_ID: Final = RateLimit(calls=1, window_s=5.0, margin_s=0.1)  # documented: a status call per 5 s per id


class RequestSizing(Struct, frozen=True):
    """The band one append should stay in: long enough to hide the round trip, short enough to show progress."""

    target_s: float = 4.0  # at 100 ms of RTT the pause between two requests costs 2.5 %
    first_bytes: int = 1 * MIB
    floor_bytes: int = 64 << 10
    ceiling_bytes: int = 64 * MIB
    quick_s: float = 1.0  # beyond the ceiling, a payload takes no longer than this
    quick_ceiling_bytes: int = 512 * MIB  # at 1.5 GB/s, what lies between two requests of 64 MiB is a tenth of the time
    growth: int = 4

    def ceiling_at(self, bytes_s: float) -> int:
        """The most that one payload holds on a link of this rate."""
        return max(self.ceiling_bytes, min(int(bytes_s * self.quick_s), self.quick_ceiling_bytes))


class RequestSize:
    """Finds the payload size whose sending takes about the target time. Owned by one lane; told what happened."""

    def __init__(self, limits: Limits | None = None, sizing: RequestSizing | None = None) -> None:
        self._limits = limits or Limits()
        self._sizing = sizing or RequestSizing()
        self._bytes = self._sizing.first_bytes
        self._accepted_bytes = 0
        self._rate_bytes_s: float | None = None

    def begin_at(self, size_bytes: int) -> None:
        """Begin with so many bytes, where that is less than one would."""
        sizing = self._sizing
        self._bytes = min(sizing.first_bytes, max(size_bytes, sizing.floor_bytes))

    def aim(self, target_s: float) -> None:
        """Have requests take about so long from now on: also the next, by what the last one moved."""
        self._sizing = replace(self._sizing, target_s=target_s)
        if self._rate_bytes_s is not None:
            self._bytes = min(self._bytes, max(int(self._rate_bytes_s * target_s), self._sizing.floor_bytes))

    def bytes(self, share_bytes_s: float | None = None) -> int:
        """The size to ask for next, within the server's limits; no more than the target time's worth of a share.

        A payload that a share made small teaches nothing of the link: when the limit goes, the size is what it was.
        """
        limits = self._limits
        if limits.exact_bytes is not None:
            return limits.exact_bytes
        size = self._bytes if limits.max_bytes is None else min(self._bytes, limits.max_bytes)
        if share_bytes_s is not None:
            size = min(size, max(int(share_bytes_s * self._sizing.target_s), self._sizing.floor_bytes))
        return max(size // limits.multiple_bytes * limits.multiple_bytes, self._least_bytes())

    def took(self, sent_bytes: int, seconds: float) -> None:
        """A payload was acknowledged after `seconds`: aim the next one at the target time."""
        self._accepted_bytes = max(self._accepted_bytes, sent_bytes)
        sizing = self._sizing
        if sent_bytes < self.bytes():
            return
        rate = self._rate_bytes_s = sent_bytes / max(seconds, 1e-3)
        grown = min(int(rate * sizing.target_s), self._bytes * sizing.growth, sizing.ceiling_at(rate))
        self._bytes = max(grown, sizing.floor_bytes)

    def broke(self) -> None:
        """A payload did not get through: ask for half."""
        self._bytes = max(self._bytes // 2, self._sizing.floor_bytes)

    def too_large(self, sent_bytes: int) -> bool:
        """The server said 413. Never so much again; False when it refuses even the smallest it should take.

        A payload that was refused has often been sent whole. So the largest size that was ever taken is gone back
        to at once; only where it is not known, or far below, the limit is looked for by halving.
        """
        taken = self._accepted_bytes
        known = max(self._least_bytes(), sent_bytes // self._sizing.growth) <= taken < sent_bytes
        allowed = taken if known else sent_bytes // 2
        if allowed < self._least_bytes() or self._limits.exact_bytes is not None:
            return False
        self._limits = replace(self._limits, max_bytes=allowed)
        return True

    def _least_bytes(self) -> int:
        """The smallest multiple that is not under the server's least."""
        multiple = self._limits.multiple_bytes
        return -(-max(self._limits.min_bytes, 1) // multiple) * multiple

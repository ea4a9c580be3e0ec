"""How often a caller may call. Counted per server process; the clock is an argument."""

import math
from collections import deque
from collections.abc import Callable

from msgspec import Struct, field

_PRUNE_AT = 10_000  # entries; keeps a long-lived server's table of callers small


def _retry_after(wait_s: float) -> int:
    return max(1, math.ceil(wait_s))


class SlidingWindow(Struct):
    """At most ``count`` calls a caller in any ``window_s`` seconds."""

    count: int
    window_s: float
    clock: Callable[[], float]
    _calls: dict[str, deque[float]] = field(default_factory=dict)

    def take(self, caller: str) -> int | None:
        """Count one call. None means go on; a number is the seconds to wait, and nothing was counted."""
        now = self.clock()
        if len(self._calls) > _PRUNE_AT:
            self._calls = {name: at for name, at in self._calls.items() if at and at[-1] > now - self.window_s}
        calls = self._calls.setdefault(caller, deque())
        while calls and calls[0] <= now - self.window_s:
            calls.popleft()
        if len(calls) >= self.count:
            return _retry_after(calls[0] + self.window_s - now)
        calls.append(now)
        return None

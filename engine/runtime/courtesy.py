"""Gives way to the user's other traffic: shows the connections' own RTT to `core.polite`, and paces them as it says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ..core.pace import FINE, Bucket
from ..core.polite import LEAST_BYTES_S, Modest, Polite, Sight
from . import kernel

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .clock import Clock

log = logging.getLogger("speechstream.polite")
LOOK_EVERY_S: Final = 0.05
_MEASURING_BYTES: Final = 64 << 10
_HEADROOM: Final = 1.25  # the kernel spreads a piece; how many pieces there are is decided here
_WORTH_TELLING: Final = 0.1  # of the rate: less of a change is not told to the kernel
_BLIND: Final = "this system tells no round-trip times; a polite upload takes half of what the line carries"


class Courtesy:
    """What all connections of this process may send at together. `tell` is told once if that can only be guessed."""

    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        self._clock = clock
        self._tell = tell
        now_s = clock.monotonic()
        self._polite = Polite(now_s)
        self._modest: Modest | None = None
        self._connections: dict[int, socket.socket] = {}
        self._followed = 0
        self._looked_s = float("-inf")
        self._told_rate = 0.0
        self._bucket = Bucket(self._polite.rate_bytes_s, now_s, FINE)

    def follow(self, connection: socket.socket) -> None:
        """A new connection stands."""
        if kernel.ends(connection) is None:
            return  # closed already
        if self._modest is None and kernel.tcp_info(connection) is None:
            self._modest = Modest(self._clock.monotonic())
            self._tell(_BLIND)
        if self._modest is None:
            self._followed += 1
            self._connections[self._followed] = connection
            kernel.smooth(connection, self._bucket.rate_bytes_s * _HEADROOM)

    @property
    def rate_bytes_s(self) -> float | None:
        """What may be sent at now; None while it is found out what the line takes."""
        if self._modest is not None:
            return self._modest.rate_bytes_s(self._clock.monotonic())
        return self._polite.rate_bytes_s

    @property
    def holds(self) -> bool:
        """Whether this decides how much is sent, and not what the connections can carry."""
        return self.rate_bytes_s is not None if self._modest is not None else self._polite.is_used

    @property
    def piece_bytes(self) -> int:
        """How much should go at once."""
        return _MEASURING_BYTES if self.rate_bytes_s is None else self._bucket.piece_bytes

    def wait_s(self) -> float:
        """Seconds until the next piece may go, as far as is known now."""
        self.look()
        return 0.0 if self.rate_bytes_s is None else self._bucket.wait_s(self._clock.monotonic())

    def spend(self, size_bytes: int) -> None:
        """A piece goes."""
        if self._modest is not None:
            self._modest.took(size_bytes)
        if self.rate_bytes_s is not None:
            self._bucket.spend(size_bytes, self._clock.monotonic())

    def look(self) -> None:
        """Look at the connections, if it is time to, and set the rate."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        if self._modest is not None:
            self._bucket.rate_bytes_s = self.rate_bytes_s or LEAST_BYTES_S
            return
        self._polite.see(self._sights(), now_s)
        self._bucket.rate_bytes_s = rate = self._polite.rate_bytes_s
        if abs(rate - self._told_rate) > _WORTH_TELLING * self._told_rate:
            log.debug("%.0f kB/s at %.0f ms", rate / 1e3, 1e3 * self._polite.delay_s)
            self._told_rate = rate
            for connection in self._connections.values():
                kernel.smooth(connection, rate * _HEADROOM)

    def _sights(self) -> list[Sight]:
        sights = []
        for name, connection in list(self._connections.items()):
            info, ends = kernel.tcp_info(connection), kernel.ends(connection)
            if info is None or ends is None:
                del self._connections[name]
            else:
                sights.append(Sight(ends[1][0], name, info.rtt_s, info.acked_bytes))
        return sights

"""How far all lanes of one upload are together, and how long bytes were under way."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from msgspec.structs import replace

from ..events import Uploaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..events import Event
    from .clock import Clock
    from .pace import Allowance
    from .supply import Supply

_REPORT_EVERY_S: Final = 0.1


class Meter(Struct):
    """One upload's progress. What was told once is never taken back, whatever a server loses.

    The total is what there is to send so far: it grows with an artifact that does.
    """

    job_id: str
    supply: Supply
    clock: Clock
    emit: Callable[[Event], None]
    allowance: Allowance | None = None
    _acked: dict[int, int] = field(default_factory=dict)
    _unconfirmed: dict[int, int] = field(default_factory=dict)
    _shown_bytes: int = 0
    _told_s: float = 0.0
    _sending: int = 0
    _sending_since_s: float = 0.0
    _sending_s: float = 0.0

    def known(self, lane: int, size_bytes: int) -> None:
        """So much of a lane was confirmed in an earlier run."""
        self._acked[lane] = size_bytes

    def acked(self, lane: int, size_bytes: int) -> None:
        """The server has confirmed so much of a lane; nothing more of it is under way."""
        self._acked[lane] = size_bytes
        self._unconfirmed[lane] = 0
        self.tell()

    def arrived(self, lane: int, size_bytes: int) -> None:
        """So much of a lane has arrived, as far as can be known, and is not confirmed."""
        self._unconfirmed[lane] = size_bytes
        if self.clock.monotonic() - self._told_s >= _REPORT_EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Emit how far it is."""
        self._told_s = self.clock.monotonic()
        acked = sum(self._acked.values())
        self._shown_bytes = max(self._shown_bytes, acked)
        unconfirmed = max(0, acked + sum(self._unconfirmed.values()) - self._shown_bytes)
        total = max(self.supply.stop, self._shown_bytes)
        unconfirmed = min(unconfirmed, total - self._shown_bytes)
        uploaded = Uploaded(self.job_id, self._shown_bytes, total, unconfirmed)
        if self.allowance is not None:
            uploaded = replace(uploaded, limit_bytes_s=self.allowance.limit_bytes_s, polite=self.allowance.polite)
        self.emit(uploaded)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Around each request with bytes: time counts once, however many lanes send."""
        if not self._sending:
            self._sending_since_s = self.clock.monotonic()
        self._sending += 1
        try:
            with self.allowance.sending() if self.allowance is not None else nullcontext():
                yield
        finally:
            self._count()
            self._sending -= 1

    def take_sending_s(self) -> float:
        """Seconds that bytes were under way since this was last asked."""
        if self._sending:
            self._count()
        seconds, self._sending_s = self._sending_s, 0.0
        return seconds

    def _count(self) -> None:
        now_s = self.clock.monotonic()
        self._sending_s += now_s - self._sending_since_s
        self._sending_since_s = now_s

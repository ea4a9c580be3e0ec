"""Preparing and uploading seen as one piece of work: how much there will be to send, and when both are done. Pure."""

from __future__ import annotations

from msgspec import Struct

from ..events import Prepared, Sealed, Uploaded

_SMOOTHING = 0.2  # weight of the newest rate: steady enough to read, quick enough to notice
_SAMPLE_S = 1.0  # acknowledgements come in lumps; a rate over less than this says nothing


class Outlook(Struct):
    """What is known of one recording that is encoded while it is uploaded.

    Attributes:
        acked_bytes: How much the server has acknowledged.
        made_s: Seconds of the recording that are encoded.
    """

    acked_bytes: int = 0
    made_s: float = 0.0
    _made_bytes: int = 0
    _made_share: float = 0.0  # when so many bytes were told: what was told since is not in them
    _total_s: float | None = None
    _speed: float | None = None
    _sealed_bytes: int | None = None
    _rate_bytes_s: float | None = None
    _since: tuple[float, int] | None = None

    @property
    def is_sealed(self) -> bool:
        """Whether all of it is encoded."""
        return self._sealed_bytes is not None

    @property
    def prepared_share(self) -> float:
        """How much of the recording is encoded, from 0 to 1."""
        if self.is_sealed:
            return 1.0
        return min(1.0, self.made_s / self._total_s) if self._total_s else 0.0

    @property
    def expected_bytes(self) -> int:
        """How large the artifact will be, if the rest is like what is there; never less than that."""
        if self._sealed_bytes is not None:
            return self._sealed_bytes
        share = self._made_share
        return max(self._made_bytes, int(self._made_bytes / share)) if share else self._made_bytes

    def take(self, event: Prepared | Uploaded | Sealed, now_s: float) -> None:
        """Take in what was told at a moment of the monotonic clock."""
        match event:
            case Prepared():
                self.made_s, self._total_s, self._speed = event.done_s, event.total_s, event.speed
            case Sealed():
                self._sealed_bytes = event.size_bytes
            case Uploaded():
                if event.total_bytes > self._made_bytes:
                    self._made_bytes, self._made_share = event.total_bytes, self.prepared_share
                self.acked_bytes = max(self.acked_bytes, event.acked_bytes)
                self._measure(now_s)

    def _measure(self, now_s: float) -> None:
        if self._since is None:
            self._since = (now_s, self.acked_bytes)
        then_s, then_bytes = self._since
        if now_s - then_s < _SAMPLE_S or self.acked_bytes == then_bytes:
            return
        rate = (self.acked_bytes - then_bytes) / (now_s - then_s)
        before = rate if self._rate_bytes_s is None else self._rate_bytes_s
        self._rate_bytes_s = before + _SMOOTHING * (rate - before)
        self._since = (now_s, self.acked_bytes)

    @property
    def left_s(self) -> float | None:
        """Seconds until both are done, the longer of the two; None while that cannot be said."""
        encoding_s = self._encoding_left_s
        if encoding_s is None or not self._rate_bytes_s:
            return None
        return max(encoding_s, (self.expected_bytes - self.acked_bytes) / self._rate_bytes_s)

    @property
    def _encoding_left_s(self) -> float | None:
        if self.is_sealed:
            return 0.0
        if self._total_s is None or not self._speed:
            return None
        return max(0.0, self._total_s - self.made_s) / self._speed

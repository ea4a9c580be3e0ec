"""What ffmpeg reports while it works, and what we report of it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

_US_PER_S = 1_000_000


class Progress(Struct, frozen=True):
    """How far preparing has come.

    Attributes:
        done_s: Seconds of the recording that are encoded.
        total_s: Seconds there will be, if known.
        bytes_written: Bytes of the artifact written so far.
        watermark_bytes: Bytes of it that are on the disk for good and never change.
        speed: Seconds of recording per second of work; None before the first measurement.
    """

    done_s: float
    total_s: float | None
    bytes_written: int
    watermark_bytes: int
    speed: float | None


class Paused(Struct, frozen=True):
    """Preparing waits for something that only a person can change, and goes on by itself.

    Attributes:
        message: One sentence that says for what.
        hint: What to do.
    """

    message: str
    hint: str


class Begun(Struct, frozen=True):
    """The artifact's bytes can be read from now on, up to the watermark that `Progress` tells.

    Attributes:
        generation: Names what all its bytes have in common. Bytes of another generation must not be mixed with these.
        watermark_bytes: How much of it an earlier run has left.
    """

    generation: str
    watermark_bytes: int


PreparingEvent = Progress | Paused | Begun
Report = Callable[[PreparingEvent], None]


class ProgressReader:
    """Reads ffmpeg's `-progress` text: blocks of `key=value` lines, each closed by a `progress=` line."""

    def __init__(self) -> None:
        self._rest = b""
        self.done_s = 0.0
        self.speed: float | None = None
        self.total_bytes: int | None = None
        self.ended = False

    def feed(self, data: bytes) -> bool:
        """Take in more text; return whether a block was completed by it."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        completed = False
        for line in lines:
            key, _, value = line.decode(errors="replace").partition("=")
            completed |= self._take(key.strip(), value.strip())
        return completed

    def _take(self, key: str, value: str) -> bool:
        match key:
            case "out_time_us":
                time_us = _whole_number(value)
                # `N/A` before the first packet, negative while the encoder's delay is subtracted.
                self.done_s = max(self.done_s, (time_us or 0) / _US_PER_S)
            case "total_size":
                self.total_bytes = _whole_number(value)
            case "speed":
                self.speed = _decimal(value.removesuffix("x"))
            case "progress":
                self.ended = value == "end"
                return True
        return False


def _whole_number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _decimal(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

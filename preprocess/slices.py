"""Cuts a recording's sound into slices that can be encoded apart from each other. Pure: sound in, slices out.

Where the cuts lie follows from the sound alone, so another run over the same sound cuts the same slices.
"""

from __future__ import annotations

import operator
import sys
from array import array
from typing import Final

from msgspec import Struct

SAMPLE_BYTES: Final = 2  # signed 16 bit, little endian
FRAMES_PER_S: Final = 50  # of 20 ms, the packets that Opus makes by default

# Long enough that starting an encoder (65 ms, measured) does not count, short enough that a kill costs seconds of work.
NOMINAL_S: Final = 180
# The first ones are shorter: there is something to send the sooner.
FIRST_S: Final = 60
FIRST_SLICES: Final = 4
# A cut is heard least where the sound is quietest; a speaker breathes within a second of any point.
_SEARCH_S: Final = 1
# Measured on speech: after 24 packets an encoder that began late sounds as near to one that did not as two encoders
# with other settings do to each other; fre:ac takes as many.
OVERLAP_FRAMES: Final = 24
# Belongs to an artifact's identity: other cuts give other bytes.
SLICING: Final = f"{FIRST_SLICES}x{FIRST_S}s/{NOMINAL_S}s/{_SEARCH_S}s/{OVERLAP_FRAMES}"


class PcmFormat(Struct, frozen=True):
    """How sound lies in memory: interleaved signed 16-bit samples.

    Attributes:
        rate_hz: Samples per second and channel; a multiple of 50.
        channels: How many.
    """

    rate_hz: int
    channels: int

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return SAMPLE_BYTES * self.channels

    @property
    def frame_samples(self) -> int:
        """Samples per channel of one 20 ms frame."""
        return self.rate_hz // FRAMES_PER_S

    @property
    def frame_bytes(self) -> int:
        """Bytes of one 20 ms frame."""
        return self.frame_samples * self.sample_bytes


class Slice(Struct, frozen=True):
    """A run of sound to be encoded by itself.

    Attributes:
        index: Its number, from 0.
        first_frame: Its first 20 ms frame, counted from the recording's beginning.
        overlap: The sound before it, whole frames, for the encoder to settle in.
        sound: Its own; whole frames unless it is the last.
        is_last: Whether the recording ends with it.
    """

    index: int
    first_frame: int
    overlap: bytes
    sound: bytes
    is_last: bool


class Slicer:
    """Takes sound in pieces of any size and gives slices of one to three minutes, cut where it is quiet."""

    def __init__(self, pcm: PcmFormat) -> None:
        self._pcm = pcm
        self._buffer = bytearray()
        self._overlap = b""
        self._index = 0
        self._first_frame = 0

    @property
    def _nominal_s(self) -> int:
        return FIRST_S if self._index < FIRST_SLICES else NOMINAL_S

    @property
    def _enough_bytes(self) -> int:
        """One search beyond the latest cut, so that no slice but a whole short recording is shorter than that."""
        return (self._nominal_s + 2 * _SEARCH_S) * FRAMES_PER_S * self._pcm.frame_bytes

    def feed(self, piece: bytes) -> list[Slice]:
        """Take more sound; returns the slices that are complete by it."""
        self._buffer += piece
        slices = []
        while len(self._buffer) > self._enough_bytes:
            slices.append(self._cut(self._quietest_frame(), is_last=False))
        return slices

    def finish(self) -> Slice | None:
        """The rest, when no more sound comes; None if there was none at all."""
        if not self._buffer:
            return None
        return self._cut(len(self._buffer) // self._pcm.frame_bytes + 1, is_last=True)

    def _cut(self, frames: int, *, is_last: bool) -> Slice:
        frame_bytes = self._pcm.frame_bytes
        sound = bytes(self._buffer[: frames * frame_bytes])
        done = Slice(self._index, self._first_frame, self._overlap, sound, is_last)
        del self._buffer[: frames * frame_bytes]
        self._overlap = sound[-OVERLAP_FRAMES * frame_bytes :]
        self._index += 1
        self._first_frame += frames
        return done

    def _quietest_frame(self) -> int:
        frame_bytes = self._pcm.frame_bytes
        frames = range((self._nominal_s - _SEARCH_S) * FRAMES_PER_S, (self._nominal_s + _SEARCH_S) * FRAMES_PER_S)
        return min(frames, key=lambda frame: _energy(self._buffer[frame * frame_bytes : (frame + 1) * frame_bytes]))


def _energy(sound: bytes | bytearray) -> int:
    samples = array("h", bytes(sound))
    if sys.byteorder == "big":
        samples.byteswap()
    return sum(map(operator.mul, samples, samples))

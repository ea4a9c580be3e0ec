"""Makes one Opus stream of slices that were encoded apart.

RFC 7845: granule positions count samples at 48 kHz, the encoder's delay (pre-skip) included; the last one says where
the sound ends within the last packet. Pages are cut as ffmpeg cuts them, after a second, and at the end of a slice:
so every slice's bytes follow from its packets, its first frame and the number of pages before it, and a recording of
a single slice gives the very bytes that ffmpeg writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .ogg import BEGIN_OF_STREAM, END_OF_STREAM, OggError, packets_of, page
from .slices import FRAMES_PER_S

if TYPE_CHECKING:
    from .slices import PcmFormat, Slice

_OPUS_CLOCK_HZ: Final = 48_000
_FRAME_TICKS: Final = _OPUS_CLOCK_HZ // FRAMES_PER_S
_PACKETS_PER_PAGE: Final = FRAMES_PER_S  # a second, as ffmpeg's muxer does by default
_HEADERS: Final = 2  # OpusHead and OpusTags, RFC 7845 section 3
_PRE_SKIP_AT: Final = 10  # RFC 7845 section 5.1, 16 bits


class Segment(Struct, frozen=True):
    """An encoded slice.

    Attributes:
        headers: The two header packets that its encoder wrote.
        packets: One for every frame of it, those of the overlap left out.
    """

    headers: tuple[bytes, bytes]
    packets: tuple[bytes, ...]


def segment(encoded: bytes, piece: Slice, pcm: PcmFormat) -> Segment:
    """Take from an encoder's stream what belongs to `piece`.

    Raises:
        OggError: The stream is not whole, or has not as many packets as the sound needs.
    """
    head, tags, *packets = packets_of(encoded)
    overlap_frames = len(piece.overlap) // pcm.frame_bytes
    samples = (len(piece.overlap) + len(piece.sound)) // pcm.sample_bytes
    delay = _pre_skip(head) * pcm.rate_hz // _OPUS_CLOCK_HZ
    expected = -(-(samples + delay) // pcm.frame_samples)
    if len(packets) != expected:
        raise OggError(f"{len(packets)} packets instead of {expected}")
    # What the encoder adds to flush its delay is wanted at the very end only; elsewhere the next slice brings it.
    stop = None if piece.is_last else overlap_frames + len(piece.sound) // pcm.frame_bytes
    return Segment((head, tags), tuple(packets[overlap_frames:stop]))


def head_pages(made: Segment) -> list[bytes]:
    """The two pages every stream begins with."""
    head, tags = made.headers
    return [page([head], granule=0, sequence=0, flags=BEGIN_OF_STREAM), page([tags], granule=0, sequence=1)]


def pages(made: Segment, piece: Slice, pcm: PcmFormat, sequence: int) -> list[bytes]:
    """The pages of one segment, the first of them with the number `sequence`."""
    written, frame = [], piece.first_frame
    for first in range(0, len(made.packets), _PACKETS_PER_PAGE):
        packets = made.packets[first : first + _PACKETS_PER_PAGE]
        frame += len(packets)
        written.append((packets, frame * _FRAME_TICKS))
    if piece.is_last:
        written[-1] = (written[-1][0], _end(made, piece, pcm))
    return [
        page(packets, granule=granule, sequence=sequence + number, flags=_flags(piece, number, len(written)))
        for number, (packets, granule) in enumerate(written)
    ]


def _flags(piece: Slice, number: int, count: int) -> int:
    return END_OF_STREAM if piece.is_last and number == count - 1 else 0


def _end(made: Segment, piece: Slice, pcm: PcmFormat) -> int:
    samples = piece.first_frame * pcm.frame_samples + len(piece.sound) // pcm.sample_bytes
    return _pre_skip(made.headers[0]) + samples * _OPUS_CLOCK_HZ // pcm.rate_hz


def _pre_skip(head: bytes) -> int:
    if not head.startswith(b"OpusHead"):
        raise OggError("the stream is not Opus")
    return int.from_bytes(head[_PRE_SKIP_AT : _PRE_SKIP_AT + 2], "little")

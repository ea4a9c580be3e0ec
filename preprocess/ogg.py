"""Ogg, as far as an artifact needs it: packets out of a stream, packets into pages, and how long a stream plays.

RFC 3533: a page header is 27 bytes (capture pattern `OggS`, version, flags, 64-bit granule position,
serial, sequence number, checksum, number of segments) and a table of segment sizes. RFC 7845 section 4:
an Opus granule counts 48 kHz samples including the pre-skip of the identification header. Ogg FLAC
mapping 1.0: granules count samples, and STREAMINFO follows 13 bytes into the first packet.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PAGE_HEADER = struct.Struct("<4sBBqIII B".replace(" ", ""))
BEGIN_OF_STREAM = 0x02
END_OF_STREAM = 0x04
_CHECKSUM_AT = 22
_LACING_MAX = 255  # a segment of fewer bytes ends its packet
_OPUS_CLOCK_HZ = 48_000
_FLAC_STREAMINFO_AT = 17  # 5 bytes signature, 2 version, 2 count, `fLaC`, 4 bytes block header
_FLAC_RATE_AT = _FLAC_STREAMINFO_AT + 10  # RFC 9639 section 8.2: 20 bits after sizes of 2+2+3+3 bytes


class OggError(ValueError):
    """The file is not one whole logical Ogg stream; the text says where it breaks."""


# zlib computes the checksum of RFC 3533 section 6 with every byte and the result mirrored, from other start and end
# values. Mirroring both costs next to nothing, and a loop over the bytes in Python a hundred times as much.
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes) -> int:
    """Checksum of a page whose checksum field is zero."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


def page(packets: Sequence[bytes], *, granule: int, sequence: int, flags: int = 0) -> bytes:
    """One page with whole packets in it, of the stream with serial number 0.

    Raises:
        OggError: They do not fit into one page.
    """
    lacing = b"".join(
        b"\xff" * (len(packet) // _LACING_MAX) + bytes((len(packet) % _LACING_MAX,)) for packet in packets
    )
    if len(lacing) > _LACING_MAX:
        raise OggError(f"{len(packets)} packets are too many for page {sequence}")
    header = _PAGE_HEADER.pack(b"OggS", 0, flags, granule, 0, sequence, 0, len(lacing))
    whole = b"".join((header, lacing, *packets))
    return whole[:_CHECKSUM_AT] + checksum(whole).to_bytes(4, "little") + whole[_CHECKSUM_AT + 4 :]


def packets_of(stream: bytes) -> list[bytes]:
    """All packets of a whole logical stream in memory.

    Raises:
        OggError: A page is foreign, cut or damaged, or the last packet has no end.
    """
    packets, rest, at = [], b"", 0
    while at < len(stream):
        if len(stream) < at + _PAGE_HEADER.size or not stream.startswith(b"OggS", at):
            raise OggError(f"no page at byte {at}")
        segments = stream[at + _PAGE_HEADER.size - 1]
        body = at + _PAGE_HEADER.size + segments
        lacing = stream[at + _PAGE_HEADER.size : body]
        stop = body + sum(lacing)
        _check(stream[at:stop], stop - at)
        for size in lacing:
            rest += stream[body : body + size]
            body += size
            if size < _LACING_MAX:
                packets.append(rest)
                rest = b""
        at = stop
    if rest:
        raise OggError("the last packet is cut")
    return packets


def _check(whole: bytes, size_bytes: int) -> None:
    if len(whole) < size_bytes:
        raise OggError("the last page is cut")
    stored = int.from_bytes(whole[_CHECKSUM_AT : _CHECKSUM_AT + 4], "little")
    if checksum(whole[:_CHECKSUM_AT] + bytes(4) + whole[_CHECKSUM_AT + 4 :]) != stored:
        raise OggError("a page is damaged")


def ogg_length_s(file: BinaryIO) -> float:
    """Playing time in seconds of a file that holds one whole Opus or FLAC stream.

    Walks all pages by their headers, so a hole or a lost tail is found, not only a missing start.

    Raises:
        OggError: A page is missing, cut or foreign, or the last one is not marked as such.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    granule, flags = 0, 0
    for expected, (flags, position, sequence) in enumerate(_pages(file, size_bytes)):  # noqa: B007 -- the last one counts
        if sequence != expected:
            raise OggError(f"page {expected} is missing")
        granule = max(granule, position)
    if not flags & END_OF_STREAM:
        raise OggError("the last page is missing")
    rate_hz, skipped = _clock(file)
    return max(0, granule - skipped) / rate_hz


def _pages(file: BinaryIO, size_bytes: int) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at < size_bytes:
        file.seek(at)
        header = file.read(_PAGE_HEADER.size)
        if len(header) < _PAGE_HEADER.size or not header.startswith(b"OggS"):
            raise OggError(f"no page at byte {at}")
        _, _, flags, granule, _, sequence, _, segments = _PAGE_HEADER.unpack(header)
        at += _PAGE_HEADER.size + segments + sum(file.read(segments))
        if at > size_bytes:
            raise OggError("the last page is cut")
        yield flags, granule, sequence


def _clock(file: BinaryIO) -> tuple[int, int]:
    """Granules per second, and how many of them come before the first sample."""
    file.seek(_PAGE_HEADER.size + 1)
    packet = file.read(64)
    if packet.startswith(b"OpusHead"):
        return _OPUS_CLOCK_HZ, int.from_bytes(packet[10:12], "little")
    if packet.startswith(b"\x7fFLAC"):
        return int.from_bytes(packet[_FLAC_RATE_AT : _FLAC_RATE_AT + 3], "big") >> 4, 0
    raise OggError("the stream is neither Opus nor FLAC")

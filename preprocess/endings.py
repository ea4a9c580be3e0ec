"""Two formats that say how they end: what is cut off without that mark would otherwise go unnoticed."""

from __future__ import annotations

from typing import BinaryIO

_PAGE = b"OggS"
_PAGE_BYTES_MAX = 65_307  # RFC 3533 section 6: 27 bytes, 255 lacing values, 255 * 255 bytes
_LAST_PAGE = 4  # the flag "end of stream" of its header type

_ID3_HEADER_BYTES = 10
_FRAME_BYTES = 256  # the Xing header is in the first frame, behind at most 36 bytes
_COUNTS_BYTES = 2  # the flag of the field that counts bytes


def has_last_page(file: BinaryIO, size_bytes: int) -> bool:
    """Whether an Ogg file ends with a page that says it is the last one of its stream (RFC 3533 section 4)."""
    file.seek(max(0, size_bytes - _PAGE_BYTES_MAX))
    tail = file.read(_PAGE_BYTES_MAX)
    at = tail.rfind(_PAGE)
    return at >= 0 and bool(tail[at + 5 : at + 6]) and bool(tail[at + 5] & _LAST_PAGE)


def mp3_missing_bytes(file: BinaryIO, size_bytes: int) -> int:
    """How many bytes an MP3 lacks of those that its Xing or Info header counts; 0 where it has none.

    The header is that of the VBR header SDK by Xing: four letters, flags, then the number of frames and of bytes.
    """
    file.seek(0)
    start = 0
    head = file.read(_ID3_HEADER_BYTES)
    if head[:3] == b"ID3" and len(head) == _ID3_HEADER_BYTES:
        # ID3v2.4 section 3.1: seven bits to a byte.
        length = 0
        for byte in head[6:]:
            length = length << 7 | byte & 0x7F
        start = _ID3_HEADER_BYTES + length
    file.seek(start)
    frame = file.read(_FRAME_BYTES)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0:
        return 0
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if not flags & _COUNTS_BYTES:
        return 0
    field = at + 8 + 4 * (flags & 1)
    return max(0, start + int.from_bytes(frame[field : field + 4], "big") - size_bytes)

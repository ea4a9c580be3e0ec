"""The few facts about MP4 and QuickTime files that libav does not tell: is the index there, is it DRM?

ISO/IEC 14496-12 (ISO base media file format): a file is a row of boxes, each a 32-bit size and a
four-letter type; `moov` holds the index. ISO/IEC 23001-7 (common encryption): protected tracks have
`enca`/`encv` sample entries that hold a `sinf`, and a `pssh` box may carry the key system's data. libav
opens such files and shows the codec that was encrypted, so decoding fails without a reason.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOXES = 10_000  # far more than any file has outside its media data; a hostile one may have millions
_DEPTH = 8  # moov/trak/mdia/minf/stbl/stsd/enca is 7
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"dinf"})
_PROTECTION = frozenset({b"enca", b"encv", b"sinf", b"pssh"})
_STSD_HEADER_BYTES = 8  # version, flags and entry count before the first sample entry
_HEADER_BYTES = 8
_DREF_BYTES = 8 + 8 + 4  # its own version and count, then size, type, version and flags of the first entry
_LARGE_HEADER_BYTES = 16


class Box(Struct, frozen=True):
    """One box: its type, and where its content lies in the file (`stop` may exceed a cut file)."""

    kind: bytes
    start: int
    stop: int


class Boxes(Struct, frozen=True):
    """What the boxes of a file say.

    Attributes:
        has_index: Whether a `moov` box is there.
        is_protected: Whether a track is encrypted.
        missing_bytes: How much the last box claims beyond the end of the file.
        is_elsewhere: Whether every track's media is said to be in other files.
    """

    has_index: bool
    is_protected: bool
    missing_bytes: int
    is_elsewhere: bool = False


def looks_like_isobmff(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an MP4 or QuickTime file."""
    return head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"}


def read_boxes(file: BinaryIO) -> Boxes:
    """Walk over the boxes of `file`, reading headers only."""
    size_bytes = os.fstat(file.fileno()).st_size
    has_index = is_protected = False
    last_stop = 0
    references: list[bool] = []
    for depth, box in _walk(file, size_bytes):
        has_index = has_index or box.kind == b"moov"
        is_protected = is_protected or box.kind in _PROTECTION
        if box.kind == b"dref":
            references.append(_is_self_contained(file, box))
        if depth == 0:
            last_stop = box.stop
    is_elsewhere = bool(references) and not any(references)
    return Boxes(has_index, is_protected, max(0, last_stop - size_bytes), is_elsewhere)


def _is_self_contained(file: BinaryIO, dref: Box) -> bool:
    """Whether a track's first data reference is "this file" (ISO/IEC 14496-12, 8.7.2: flag 1)."""
    file.seek(dref.start)
    content = file.read(_DREF_BYTES)
    return len(content) < _DREF_BYTES or bool(content[-1] & 1)


def _walk(file: BinaryIO, size_bytes: int) -> Iterator[tuple[int, Box]]:
    # Still to visit, innermost last, as (depth, next position, end of the parent).
    pending = [(0, 0, size_bytes)]
    for _ in range(_BOXES):
        if not pending:
            return
        depth, position, end = pending.pop()
        box = _read_box(file, position, end)
        if box is None:
            continue
        yield depth, box
        pending.append((depth, box.stop, end))
        inner_start = box.start + (_STSD_HEADER_BYTES if box.kind == b"stsd" else 0)
        if depth < _DEPTH and (box.kind in _PARENTS or box.kind == b"stsd"):
            pending.append((depth + 1, inner_start, min(box.stop, end)))


def _read_box(file: BinaryIO, position: int, end: int) -> Box | None:
    if position + _HEADER_BYTES > end:
        return None
    file.seek(position)
    header = file.read(_LARGE_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return None
    size, header_bytes = int.from_bytes(header[:4], "big"), _HEADER_BYTES
    if size == 1:  # the real size follows in 64 bits
        size, header_bytes = int.from_bytes(header[8:16], "big"), _LARGE_HEADER_BYTES
    elif size == 0:  # to the end of the file
        size = end - position
    if size < header_bytes:
        return None
    return Box(header[4:8], position + header_bytes, position + size)

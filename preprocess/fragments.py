"""How long the sound of a fragmented MP4 plays, told from its boxes without reading its media.

ISO/IEC 14496-12: `mdhd` (8.4.2) has a track's time scale, `hdlr` (8.4.3) its kind, `elst` (8.6.6) how late and where on
its own time line it begins; each `moof` has for each track a `tfhd` (8.8.7) with the default duration of a sample, a
`tfdt` (8.8.12) with the time at which it begins, and `trun`s (8.8.8) with its samples.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOUND: Final = b"soun"
_BOX_BYTES_MAX: Final = 64 << 20  # a header of ours has kilobytes
_TFHD_OPTIONAL: Final = ((0x1, 8), (0x2, 4))  # base data offset, sample description index
_TFHD_DURATION: Final = 0x8
_TRUN_OPTIONAL: Final = ((0x1, 4), (0x4, 4))  # data offset, flags of the first sample
_TRUN_PER_SAMPLE: Final = (0x100, 0x200, 0x400, 0x800)  # duration, size, flags, composition offset
_TRUN_DURATION: Final = 0x100


class FragmentsError(ValueError):
    """The file is not a whole fragmented MP4; the text says where it breaks."""


class _Track(Struct):
    number: int = 0
    kind: bytes = b""
    scale_hz: int = 0
    starts_at: int = 0  # on its own time line, in its own scale
    late: int = 0  # on the presentation's, in the movie's scale
    movie_scale_hz: int = 1
    default_duration: int = 0


def fragments_length_s(file: BinaryIO) -> float:
    """Where the sound of the first audio track ends, in seconds from the beginning of the presentation.

    Raises:
        FragmentsError: A box is cut or missing, or there is no sound.
    """
    track: _Track | None = None
    end: int | None = None
    try:
        for kind, start, stop in _top(file):
            if kind == b"moov":
                track = _sound_track(_content(file, start, stop))
            elif kind == b"moof" and track is not None:
                end = _end_of(_content(file, start, stop), track, end)
    except IndexError as error:
        raise FragmentsError("a box is shorter than it says") from error
    if track is None or end is None:
        raise FragmentsError("it holds no sound")
    return track.late / track.movie_scale_hz + (end - track.starts_at) / track.scale_hz


def _top(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    size_bytes, at = os.fstat(file.fileno()).st_size, 0
    while at < size_bytes:
        file.seek(at)
        header = file.read(16)
        size, start = int.from_bytes(header[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(header[8:], "big"), at + 16
        if size < start - at or at + size > size_bytes:
            raise FragmentsError(f"the box at byte {at} is cut")
        yield header[4:8], start, at + size
        at += size


def _content(file: BinaryIO, start: int, stop: int) -> bytes:
    if stop - start > _BOX_BYTES_MAX:
        raise FragmentsError(f"the box at byte {start} is too large")
    file.seek(start)
    return file.read(stop - start)


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(content):
        size = _number(content, at, 4)
        if size < 8 or at + size > len(content):  # noqa: PLR2004 -- a header's own size
            raise FragmentsError("a box is cut")
        yield content[at + 4 : at + 8], content[at + 8 : at + size]
        at += size


def _number(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise IndexError(at)
    return int.from_bytes(content[at : at + size], "big")


def _sound_track(moov: bytes) -> _Track | None:
    defaults: dict[int, int] = {}
    tracks, movie_scale_hz = [], 0
    for kind, content in _boxes(moov):
        if kind == b"mvhd":
            movie_scale_hz = _scale_hz(content)
        elif kind == b"trak":
            tracks.append(_track(content))
        elif kind == b"mvex":
            for inner, trex in _boxes(content):
                if inner == b"trex":  # 8.8.3: track, description, duration
                    defaults[_number(trex, 4, 4)] = _number(trex, 12, 4)
    track = next((track for track in tracks if track.kind == _SOUND and track.scale_hz), None)
    if track is not None:
        track.default_duration = defaults.get(track.number, 0)
        track.movie_scale_hz = movie_scale_hz or 1
    return track


def _track(trak: bytes) -> _Track:
    track, pending = _Track(), [trak]
    while pending:
        for kind, content in _boxes(pending.pop()):
            match kind:
                case b"mdia" | b"edts":
                    pending.append(content)
                case b"tkhd":
                    track.number = _number(content, 20 if _is_wide(content) else 12, 4)
                case b"mdhd":
                    track.scale_hz = _scale_hz(content)
                case b"hdlr":
                    track.kind = content[8:12]
                case b"elst":
                    track.late, track.starts_at = _start(content)
    return track


def _is_wide(content: bytes) -> bool:
    """Whether a full box has version 1, with times of 64 bits."""
    return content[:1] == b"\1"


def _scale_hz(header: bytes) -> int:
    """The time scale in an `mvhd` or `mdhd`."""
    return _number(header, 20 if _is_wide(header) else 12, 4)


def _start(elst: bytes) -> tuple[int, int]:
    """How long nothing is presented, in the movie's scale, and which of its own times comes then."""
    size, late = 8 if _is_wide(elst) else 4, 0
    for index in range(_number(elst, 4, 4)):
        at = 8 + index * (2 * size + 4)
        duration, time = _number(elst, at, size), _number(elst, at + size, size)
        if time >> (8 * size - 1) == 0:  # -1 stands for an empty edit
            return late, time
        late += duration
    return late, 0


def _end_of(moof: bytes, track: _Track, before: int | None) -> int | None:
    """Where the track ends after a fragment."""
    for kind, traf in _boxes(moof):
        parts = list(_boxes(traf)) if kind == b"traf" else []
        tfhd = next((content for inner, content in parts if inner == b"tfhd"), b"")
        if not tfhd or _number(tfhd, 4, 4) != track.number:
            continue
        duration = _default_duration(tfhd, track.default_duration)
        for inner, content in parts:
            if inner == b"tfdt":
                before = _number(content, 4, 8 if _is_wide(content) else 4)
            elif inner == b"trun":
                before = (before or 0) + _run_duration(content, duration)
    return before


def _default_duration(tfhd: bytes, otherwise: int) -> int:
    flags = _number(tfhd, 1, 3)
    if not flags & _TFHD_DURATION:
        return otherwise
    return _number(tfhd, 8 + sum(size for flag, size in _TFHD_OPTIONAL if flags & flag), 4)


def _run_duration(trun: bytes, duration: int) -> int:
    flags, count = _number(trun, 1, 3), _number(trun, 4, 4)
    if not flags & _TRUN_DURATION:
        return count * duration
    begin = 8 + sum(size for flag, size in _TRUN_OPTIONAL if flags & flag)
    step = 4 * sum(bool(flags & flag) for flag in _TRUN_PER_SAMPLE)
    return sum(_number(trun, begin + index * step, 4) for index in range(count))

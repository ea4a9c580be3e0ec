"""Is this path a recording that may be opened? Everything that can be said before libav sees a byte."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from .endings import has_last_page, mp3_missing_bytes
from .errors import (
    Empty,
    Encrypted,
    NoAudio,
    NotFound,
    NotMedia,
    NotRegular,
    RecordingError,
    Truncated,
    Unreadable,
)
from .isobmff import looks_like_isobmff, read_boxes

_HEAD_BYTES = 4096
_RIFF_UNKNOWN = 0xFFFF_FFFF

# As it looks after somebody has made a path of it, and that absolute: one slash is left of two.
_URL = re.compile(
    r"(?:^|/)(https?|ftps?|sftp|s3|gs|smb|rtsp|rtmps?|srt|file):/{1,2}([^/].*)", re.IGNORECASE | re.DOTALL
)

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

# Some recorders write on beyond 4 GB. The sizes in a WAV are then what fitted into 32 bits: libav is to read on, and
# not to look for chunks behind what it takes for the end, which in a silent recording lasts for minutes.
_TO_THE_END = (("ignore_length", "1"), ("seekable", "0"))

_PLAYLIST = "a playlist, not a recording"
_SIGNATURES = (
    (re.compile(rb"(\xef\xbb\xbf)?\s*#EXTM3U"), _PLAYLIST),
    (re.compile(rb"(\xef\xbb\xbf)?\s*ffconcat version"), _PLAYLIST),
    (re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(MPD|SmoothStreamingMedia)\b"), _PLAYLIST),
    (re.compile(rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM....\x00\x00\x00\x00|RIFF....WEBP", re.DOTALL), "a picture"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!"), "an archive"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|\?xml)", re.IGNORECASE), "a web page"),
)


class Admitted(Struct, frozen=True):
    """A file that may be opened as a recording.

    Attributes:
        path: Its absolute path.
        size_bytes: Its size.
        missing_bytes: How much more its own header says there should be.
        length_is_of_whole: Whether libav tells the length that was to be, not that of what is there.
        lacks_end: Whether the mark is not there with which its format ends.
        is_blank: Whether it begins with zeros.
        demuxer_options: What libav must be told to read all of it, as its sizes are wrong.
    """

    path: Path
    size_bytes: int
    missing_bytes: int = 0
    length_is_of_whole: bool = False
    lacks_end: bool = False
    is_blank: bool = False
    demuxer_options: tuple[tuple[str, str], ...] = ()


def admit(name: str) -> Admitted:
    """Check that `name` is a readable, regular file that may be a recording.

    Blocks on the disk, never on a pipe.

    Raises:
        RecordingError: It is not; the subclass says why.
    """
    path = Path(name).absolute()
    with open_regular(path) as file:
        try:
            return _look(path, file)
        except OSError as error:
            raise refused(path, error) from error


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file that has bytes; never waits, whatever the path names.

    Raises:
        RecordingError: There is no such thing; the subclass says why.
    """
    _check_kind(path)
    try:
        # Without blocking: a pipe put in its place meanwhile does not make us wait for a writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise refused(path, error) from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size > 0:
        return file
    file.close()
    if status.st_size == 0 and stat.S_ISREG(status.st_mode):
        raise Empty(f"{path.name!r} is empty.", hint="Check that the recorder saved it, and copy it again.")
    raise NotRegular(f"{path.name!r} is not a regular file.")


def _check_kind(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise refused(path, error) from error
    for is_kind, what in _KINDS:
        if is_kind(mode):
            hint = "Name one file." if what == "a directory" else "Save the recording to a file first."
            raise NotRegular(f"{path.name!r} is {what}, not a file.", hint=hint)


def refused(path: Path, error: OSError) -> RecordingError:
    """What the system's refusal to open or read `path` means for the user."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return _not_found(path)
    reason = error.strerror or str(error)
    return Unreadable(f"{path.name!r} cannot be read: {reason}.", hint="Check the file's permissions and its disk.")


def _not_found(path: Path) -> NotFound:
    if path.is_symlink():
        return NotFound(
            f"{path.name!r} is a link to {os.readlink(path)!r}, which does not exist.",  # noqa: PTH115 -- as written
            hint="Is the disk it points to connected?",
        )
    address = _URL.search(str(path))
    if address:
        return NotFound(
            f"'{address[1]}://{address[2]}' is an address, not a file.",
            hint="Download the recording and name the file.",
        )
    return NotFound(f"{str(path)!r} does not exist.", hint="Check the name and the folder.")


def _look(path: Path, file: BinaryIO) -> Admitted:
    """Refuse what is not media; find what the file's own header and end say is missing."""
    size_bytes = os.fstat(file.fileno()).st_size
    head = file.read(_HEAD_BYTES)
    for signature, what in _SIGNATURES:
        if signature.match(head):
            raise NotMedia(f"{path.name!r} is {what}.", hint="Name the audio or video file itself.")
    if looks_like_isobmff(head):
        return Admitted(path, size_bytes, _check_boxes(path, file), length_is_of_whole=True)
    if head.startswith(b"OggS"):
        return Admitted(path, size_bytes, lacks_end=not has_last_page(file, size_bytes))
    if head.startswith(b"RIFF"):
        has_outgrown = size_bytes > _RIFF_UNKNOWN and head[8:12] == b"WAVE"
        options = _TO_THE_END if has_outgrown else ()
        return Admitted(path, size_bytes, _riff_missing_bytes(head, size_bytes), demuxer_options=options)
    if head[:3] == b"ID3" or head[:1] == b"\xff":
        return Admitted(path, size_bytes, mp3_missing_bytes(file, size_bytes), length_is_of_whole=True)
    return Admitted(path, size_bytes, is_blank=not any(head))


def _riff_missing_bytes(head: bytes, size_bytes: int) -> int:
    # Recorders that were stopped, and pipes, leave the size at 0 or at its largest value.
    claimed = int.from_bytes(head[4:8], "little")
    return 0 if claimed == _RIFF_UNKNOWN else max(0, claimed + 8 - size_bytes)


def _check_boxes(path: Path, file: BinaryIO) -> int:
    boxes = read_boxes(file)
    if boxes.is_protected:
        raise Encrypted(
            f"{path.name!r} is protected by DRM and cannot be decoded.",
            hint="Export it without protection from the program that made it.",
        )
    if boxes.is_elsewhere:
        raise NoAudio(
            f"{path.name!r} holds no sound itself: it refers to other files.",
            hint="Export it as a self-contained movie, or name the file that it refers to.",
        )
    if not boxes.has_index:
        raise Truncated(
            f"{path.name!r} has no index (moov): it was not finalised or the copy is incomplete.",
            hint="Copy it again from the recorder; if it is the same there, a repair tool such as untrunc may help.",
        )
    return boxes.missing_bytes

"""Is this path a recording that may be opened? Everything that can be said before libav sees a byte."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import (
    Empty,
    Encrypted,
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
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

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


@dataclass(frozen=True, slots=True)
class Admitted:
    """A file that may be opened as a recording.

    Attributes:
        path: Its absolute path.
        size_bytes: Its size.
        warnings: What its first bytes tell against it.
    """

    path: Path
    size_bytes: int
    warnings: tuple[str, ...]


def admit(name: str) -> Admitted:
    """Check that `name` is a readable, regular file that may be a recording.

    Blocks on the disk, never on a pipe.

    Raises:
        RecordingError: It is not; the subclass says why.
    """
    if _URL.match(name) and not os.path.lexists(name):
        raise NotFound(f"{name!r} is an address, not a file.", hint="Download the recording and name the file.")
    path = Path(name).absolute()
    with open_regular(path) as file:
        try:
            size_bytes = os.fstat(file.fileno()).st_size
            missing_bytes = _check_content(path, file)
        except OSError as error:
            raise refused(path, error) from error
    return Admitted(path, size_bytes, _cut_warning(path, missing_bytes))


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
    return NotFound(f"{str(path)!r} does not exist.", hint="Check the name and the folder.")


def _check_content(path: Path, file: BinaryIO) -> int:
    """Refuse what is not media; return how many bytes the file's own header says are missing."""
    head = file.read(_HEAD_BYTES)
    for signature, what in _SIGNATURES:
        if signature.match(head):
            raise NotMedia(f"{path.name!r} is {what}.", hint="Name the audio or video file itself.")
    if looks_like_isobmff(head):
        return _check_boxes(path, file)
    if head.startswith(b"RIFF"):
        # Recorders that were stopped, and pipes, leave the size at 0 or at its largest value.
        claimed = int.from_bytes(head[4:8], "little")
        return 0 if claimed == _RIFF_UNKNOWN else max(0, claimed + 8 - os.fstat(file.fileno()).st_size)
    return 0


def _check_boxes(path: Path, file: BinaryIO) -> int:
    boxes = read_boxes(file)
    if boxes.is_protected:
        raise Encrypted(
            f"{path.name!r} is protected by DRM and cannot be decoded.",
            hint="Export it without protection from the program that made it.",
        )
    if not boxes.has_index:
        raise Truncated(
            f"{path.name!r} has no index (moov): it was not finalised or the copy is incomplete.",
            hint="Copy it again from the recorder; if it is the same there, a repair tool such as untrunc may help.",
        )
    return boxes.missing_bytes


def _cut_warning(path: Path, missing_bytes: int) -> tuple[str, ...]:
    if missing_bytes == 0:
        return ()
    return (f"{path.name!r} is {missing_bytes:,} bytes shorter than its header says: the copy is incomplete.",)

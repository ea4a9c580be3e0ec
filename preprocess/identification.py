"""Who a recording is: enough to notice that it became another one, without reading all of it."""

from __future__ import annotations

import os
from pathlib import Path

import xxhash
from msgspec import Struct

from .errors import SourceChanged
from .source import open_regular, refused

_EDGE_BYTES = 1 << 20  # headers and indexes live at the edges
_SAMPLE_BYTES = 64 << 10
_SAMPLES = 8  # with both edges: 2.5 MiB read at most, whatever the size


class SourceIdentity(Struct, frozen=True):
    """Identity of a file at one moment.

    Attributes:
        device: Number of the file system it is on.
        inode: Its number there.
        size_bytes: Its size.
        mtime_ns: When it was last written, in nanoseconds since 1970.
        fingerprint: xxh3-128 over its size, head, tail and evenly spread samples, in hex.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    fingerprint: str

    def same_content(self, other: SourceIdentity) -> bool:
        """Whether both are the same bytes as far as can be told; a moved or copied file still is."""
        return (self.size_bytes, self.fingerprint) == (other.size_bytes, other.fingerprint)


def identity(source: str | os.PathLike[str]) -> SourceIdentity:
    """Identify a file with bounded reads (at most 2.5 MiB). Blocks on the disk.

    Raises:
        RecordingError: It is missing, empty, not a regular file, or cannot be read.
        SourceChanged: It was written to while it was read.
    """
    path = Path(source)
    with open_regular(path) as file:
        try:
            before = os.fstat(file.fileno())
            fingerprint = _fingerprint(file.fileno(), before.st_size)
            after = os.fstat(file.fileno())
        except OSError as error:
            raise refused(path, error) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceChanged(f"{path.name!r} is still being written.", hint="Wait until the recording has ended.")
    return SourceIdentity(after.st_dev, after.st_ino, after.st_size, after.st_mtime_ns, fingerprint)


def _fingerprint(fd: int, size_bytes: int) -> str:
    digest = xxhash.xxh3_128(size_bytes.to_bytes(8, "big"))
    for offset, length in _spans(size_bytes):
        digest.update(os.pread(fd, length, offset))
    return digest.hexdigest()


def _spans(size_bytes: int) -> list[tuple[int, int]]:
    if size_bytes <= 2 * _EDGE_BYTES + _SAMPLES * _SAMPLE_BYTES:
        return [(0, size_bytes)]
    step = (size_bytes - 2 * _EDGE_BYTES) // (_SAMPLES + 1)
    samples = [(_EDGE_BYTES + step * n, _SAMPLE_BYTES) for n in range(1, _SAMPLES + 1)]
    return [(0, _EDGE_BYTES), *samples, (size_bytes - _EDGE_BYTES, _EDGE_BYTES)]

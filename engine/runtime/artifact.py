"""Reads the sealed artifact and proves its parts: every part is hashed from the buffer that is sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

import anyio.lowlevel
import anyio.to_thread
import xxhash

from ..errors import RecordingChanged, RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ..model import Plan, SourceIdentity, Span

_HASH_PIECE_BYTES: Final = 4 << 20
_READ_AHEAD_BYTES: Final = 4 << 20
_YIELD_AFTER_BYTES: Final = 8 << 20  # some milliseconds: where a socket takes all at once, nothing else yields
_STILL_WRITTEN: Final = (
    "nothing is lost; when it is finished, run the same command again, or send it while it grows: "
    "`speechstream upload --follow`"
)


class ArtifactFile:
    """The artifact, open for reading at any offset. Use as a context manager.

    `unchanged`, given for an artifact that is the recording itself, is what the open file must still be. One that is
    `growing` has no size yet, and must only never become shorter.
    """

    def __init__(
        self, path: Path, size_bytes: int, *, unchanged: SourceIdentity | None = None, growing: bool = False
    ) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self._unchanged = unchanged
        self._growing = growing
        self._tells = hasattr(os, "RWF_NOWAIT")
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RecordingError(
                f"{path} cannot be opened: {error.strerror}",
                hint="put the file back where it was, then `speechstream resume`",
                reason="Unreadable",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def check(self) -> None:
        """Make sure that the open file is still the one that was planned.

        Raises:
            RecordingChanged: size or time of change differ.
        """
        facts = os.fstat(self._descriptor)
        if self._growing and facts.st_size >= self.size_bytes:
            self.size_bytes = facts.st_size
            return
        if facts.st_size != self.size_bytes:
            raise RecordingChanged(
                f"{self.path} has {facts.st_size} bytes, and had {self.size_bytes} when its upload began",
                hint=_STILL_WRITTEN,
            )
        known = self._unchanged
        if known is not None and facts.st_mtime_ns != known.mtime_ns:
            raise RecordingChanged(
                f"{self.path} was written to while it was being sent",
                hint=_STILL_WRITTEN,
            )

    def fill_at_hand(self, buffer: memoryview, offset: int) -> int:
        """Read as much as waits for no disk, from the buffer's beginning on; what follows is asked of the disk.

        Returns how many bytes that is: none where the file system does not tell (preadv2(2), RWF_NOWAIT; Linux).
        """
        if not self._tells:
            return 0
        read_bytes = 0
        try:
            read_bytes = os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            pass
        except OSError:
            self._tells = False
        if self._tells and read_bytes < len(buffer):
            missing_bytes = len(buffer) - read_bytes + _READ_AHEAD_BYTES
            os.posix_fadvise(self._descriptor, offset + read_bytes, missing_bytes, os.POSIX_FADV_WILLNEED)
        return read_bytes

    def fill(self, buffer: memoryview, offset: int) -> None:
        """Read from `offset` on until the buffer is full; blocks.

        Raises:
            RecordingError: the disk does not give them.
            RecordingChanged: the file is shorter than it was.
        """
        while buffer:
            try:
                piece = os.pread(self._descriptor, len(buffer), offset)
            except OSError as error:
                raise RecordingError(
                    f"{self.path} cannot be read at byte {offset}: {error.strerror}",
                    hint=(
                        f"the recording is untouched; remove {self.path}, and the same command prepares it again"
                        if self._unchanged is None
                        else "copy the recording to a sound disk, then run the same command on the copy"
                    ),
                    reason="Unreadable",
                ) from error
            if not piece:
                raise RecordingChanged(f"{self.path} ends at byte {offset}, and had {self.size_bytes} bytes")
            buffer[: len(piece)] = piece
            offset += len(piece)
            buffer = buffer[len(piece) :]

    def read_now(self, offset: int, size_bytes: int) -> bytearray:
        """Exactly `size_bytes` at `offset`; blocks.

        Raises:
            RecordingError: the disk does not give them.
            RecordingChanged: the file is shorter than it was.
        """
        piece = bytearray(size_bytes)
        self.fill(memoryview(piece), offset)
        return piece


class PartHasher:
    """Hashes parts as their bytes pass by, in order from any offset, and knows all digests so far.

    `fresh` holds digests not yet committed.
    """

    def __init__(self, file: ArtifactFile, plan: Plan, known: Mapping[int, bytes]) -> None:
        self._file = file
        self._plan = plan
        self._known = dict(known)
        self._offset = -1
        self._unyielded_bytes = 0
        self._state = xxhash.xxh3_128()
        self.fresh: dict[int, bytes] = {}

    async def fill(self, buffer: memoryview, offset: int) -> None:
        """Read the bytes to send, and hash them. The same buffer serves both.

        What the system has in memory already is read here: that takes less time than asking a thread to do it.
        """
        read_bytes = 0
        if offset == self._offset:
            read_bytes = self._file.fill_at_hand(buffer, offset)
            self._feed(buffer[:read_bytes])
            self._unyielded_bytes += read_bytes
            if self._unyielded_bytes >= _YIELD_AFTER_BYTES:
                self._unyielded_bytes = 0
                await anyio.lowlevel.checkpoint()
        if read_bytes < len(buffer):
            await anyio.to_thread.run_sync(self._fill_and_hash, buffer[read_bytes:], offset + read_bytes)

    async def complete(self, on_hashed: Callable[[int], None] | None = None) -> tuple[bytes, ...]:
        """All digests in order; parts whose digest a kill took away are read from the disk again."""
        for index in range(self._plan.part_count):
            if index not in self._known:
                await anyio.to_thread.run_sync(self._hash_part, self._plan.part(index))
                if on_hashed is not None:
                    on_hashed(index)
        return tuple(self._known[index] for index in range(self._plan.part_count))

    def taken(self) -> dict[int, bytes]:
        """The uncommitted digests, which from now on count as committed."""
        fresh, self.fresh = self.fresh, {}
        return fresh

    def _fill_and_hash(self, buffer: memoryview, offset: int) -> None:
        if offset != self._offset:
            self._enter_at(offset)
        self._file.fill(buffer, offset)
        self._feed(buffer)

    def _hash_part(self, part: Span) -> None:
        self._enter_at(part.start)
        for start in range(part.start, part.stop, _HASH_PIECE_BYTES):
            self._feed(self._file.read_now(start, min(_HASH_PIECE_BYTES, part.stop - start)))

    def _enter_at(self, offset: int) -> None:
        """Begin inside a part: its head is read again, so that the digest covers all of it."""
        start = offset - offset % self._plan.part_size_bytes
        self._state = xxhash.xxh3_128()
        self._offset = start
        while self._offset < offset:
            self._feed(self._file.read_now(self._offset, min(_HASH_PIECE_BYTES, offset - self._offset)))

    def _feed(self, piece: bytearray | memoryview) -> None:
        view = memoryview(piece)
        while view:
            index = self._offset // self._plan.part_size_bytes
            part = self._plan.part(index)
            taken = view[: part.stop - self._offset]
            self._state.update(taken)
            self._offset += len(taken)
            view = view[len(taken) :]
            if self._offset == part.stop:
                self._finish(index, self._state.digest())
                self._state = xxhash.xxh3_128()

    def _finish(self, index: int, digest: bytes) -> None:
        before = self._known.get(index)
        if before is not None and before != digest:
            part = self._plan.part(index)
            raise RecordingChanged(
                f"{self._file.path} has other bytes between {part.start} and {part.stop} than were sent before",
                hint="send it as it is now with `--new`, or put the first version back and `speechstream resume`",
            )
        if before is None:
            self._known[index] = self.fresh[index] = digest


def changed_parts(file: ArtifactFile, plan: Plan, known: Mapping[int, bytes]) -> list[int]:
    """Which parts of `known` digests have other bytes on the disk now. Blocks for as long as reading them takes.

    Raises:
        RecordingError: the disk does not give them.
        RecordingChanged: the file ends before them.
    """
    return [index for index, digest in sorted(known.items()) if _digest(file, plan.part(index)) != digest]


def _digest(file: ArtifactFile, part: Span) -> bytes:
    state = xxhash.xxh3_128()
    for start in range(part.start, part.stop, _HASH_PIECE_BYTES):
        state.update(file.read_now(start, min(_HASH_PIECE_BYTES, part.stop - start)))
    return state.digest()


def digest_of_parts(digests: tuple[bytes, ...]) -> bytes:
    """The artifact's digest: xxh3-128 over its parts' raw digests, in order."""
    whole = xxhash.xxh3_128()
    for digest in digests:
        whole.update(digest)
    return whole.digest()


def is_whole(path: Path, size_bytes: int) -> bool:
    """Whether a prepared artifact still lies in its spool as it was sealed there."""
    try:
        return path.stat().st_size == size_bytes
    except OSError:
        return False

"""The growing file of an artifact: nothing that is in it ever changes, so it can leave before it is whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import xxhash

from .errors import PreprocessError
from .journal import Note
from .refusal import told

if TYPE_CHECKING:
    from pathlib import Path

    from .journal import Journal

_COMPARE_BYTES: Final = 1 << 20


class Diverged(PreprocessError):
    """What is being made is not what an earlier run made of the same recording, so the two must not be mixed."""


class Partial:
    """An append-only file, and a place in it: what earlier runs wrote is compared, what is new is written.

    Attributes:
        path: Where it is.
        size_bytes: How much has been appended in this run, bytes that were there already among them.
    """

    def __init__(self, fd: int, path: Path, journal: Journal) -> None:
        self._fd = fd
        self._digest = xxhash.xxh3_128()
        self._journal = journal
        self._there_bytes = journal.stop_bytes
        self.path = path
        self.size_bytes = 0

    @property
    def generation(self) -> str:
        """Names what all of its bytes have in common: one undisturbed making."""
        return self._journal.generation

    @property
    def watermark_bytes(self) -> int:
        """So many bytes are on the disk for good and never change."""
        return self._journal.stop_bytes

    def note_of(self, segment: int) -> Note | None:
        """What is known of a segment that is on the disk already."""
        notes = self._journal.notes
        return notes[segment] if segment < len(notes) and notes[segment].segment == segment else None

    def append(self, data: bytes) -> None:
        """Take `data` as what comes next. What could not be written may be appended again.

        Raises:
            Diverged: Other bytes are there.
            NoSpace: The disk is full; `size_bytes` tells how much of `data` is in.
            OutputDenied: The same for another reason.
        """
        rest = memoryview(data)
        while rest and self.size_bytes < self._there_bytes:
            rest = rest[self._compare(rest[: min(_COMPARE_BYTES, self._there_bytes - self.size_bytes)]) :]
        with told(self.path):
            while rest:
                written = os.pwrite(self._fd, rest, self.size_bytes)
                self._take(rest[:written])
                rest = rest[written:]

    def _compare(self, data: memoryview) -> int:
        with told(self.path):
            there = os.pread(self._fd, len(data), self.size_bytes)
        if there != data:
            raise Diverged(f"{self.path.name} has other bytes from {self.size_bytes} on than are made now.")
        self._take(data)
        return len(data)

    def keep(self, note: Note) -> None:
        """Go on behind what `note` speaks of, having made sure that it still is what was written.

        Raises:
            Diverged: It is not.
        """
        digest, begin_bytes = xxhash.xxh3_128(), self.size_bytes
        while self.size_bytes < note.stop_bytes:
            with told(self.path):
                piece = os.pread(self._fd, min(_COMPARE_BYTES, note.stop_bytes - self.size_bytes), self.size_bytes)
            if not piece:
                break
            digest.update(piece)
            self._take(piece)
        if digest.hexdigest() != note.digest:
            raise Diverged(f"{self.path.name} is damaged between {begin_bytes} and {note.stop_bytes}.")

    def _take(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self.size_bytes += len(data)

    def sync(self, note: Note | None = None) -> None:
        """Bring all that was appended onto the disk, then note it; only then the watermark moves.

        Raises:
            NoSpace: The disk is full.
            OutputDenied: It fails.
        """
        size_bytes = self.size_bytes  # before the sync: more may be appended meanwhile
        if size_bytes <= self.watermark_bytes:
            return
        with told(self.path):
            os.fsync(self._fd)
            self._journal.add(note or Note(size_bytes))

    def digest(self) -> str:
        """xxh3-128 of everything appended, in hex."""
        return self._digest.hexdigest()

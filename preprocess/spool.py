"""The folder an artifact grows in.

    <into>/                    mode 0700, one artifact
        artifact.partial       while it is being made; locked by its maker; append-only
        artifact.journal       what of it is on the disk for good
        segment-000012         encoded, and waiting for those before it
        artifact.json          what the finished artifact is and was made from
        artifact<suffix>       finished; there only if the record is

A record is written first and the rename comes last, so a finished artifact always has its record; the
digest in it tells an artifact of another generation apart.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash
from msgspec import Struct, to_builtins

from .errors import OutputDenied, RecordingError
from .journal import Journal, Making
from .partial import Diverged, Partial
from .refusal import told
from .segments import Segments

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMA = 2
_COPY_BYTES = 1 << 20


class Record(Struct, frozen=True):
    """What the sidecar says about a finished artifact."""

    making: Making
    generation: str
    size_bytes: int
    digest: str
    duration_s: float | None
    warnings: tuple[str, ...]


class Spool:
    """One folder with at most one artifact in it."""

    def __init__(self, into: Path) -> None:
        self.into = into
        self.partial_path = into / "artifact.partial"
        self.segments = Segments(into)
        self._journal_path = into / "artifact.journal"
        self._record_path = into / "artifact.json"

    def artifact_path(self, suffix: str) -> Path:
        """Where the finished artifact is, or will be."""
        return self.into / f"artifact{suffix}"

    def create(self) -> None:
        """Make the folder, readable by nobody else. Raises `OutputDenied` or `NoSpace`."""
        with told(self.into):
            self.into.mkdir(mode=0o700, parents=True, exist_ok=True)

    def finished(self, making: Making, suffix: str) -> Record | None:
        """The record of an artifact made just so and still whole, else None. Reads all of the artifact."""
        record = self._read_record()
        if record is None or not record.making.equals(making):
            return None
        return record if _digest(self.artifact_path(suffix)) == record.digest else None

    def is_as_sealed(self, path: Path) -> bool:
        """Whether the finished artifact at `path` is what was sealed here. Reads all of it."""
        record = self._read_record()
        return record is not None and _digest(path) == record.digest

    @contextmanager
    def partial(self, making: Making) -> Iterator[Partial]:
        """Hold the growing file's lock, and go on with what an earlier run has left of the same making.

        The lock dies with its owner. What was not noted in the journal is cut off. An error that another attempt
        ends with too removes everything; so does finding nothing worth keeping.

        Raises:
            OutputDenied: The folder cannot be written, or another process is at it.
            NoSpace: The disk is full.
        """
        with told(self.partial_path):
            fd = os.open(self.partial_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._lock(fd)
            with told(self.partial_path):
                journal = self._journal(fd, making)
                os.ftruncate(fd, journal.stop_bytes)
            growing = Partial(fd, self.partial_path, journal)
            try:
                yield growing
            except (RecordingError, Diverged):
                self._forget()
                raise
            except BaseException:
                if not growing.watermark_bytes:
                    self._forget()
                raise
        finally:
            os.close(fd)

    def _journal(self, fd: int, making: Making) -> Journal:
        journal = Journal.read(self._journal_path, making)
        if not journal.generation or os.fstat(fd).st_size < journal.stop_bytes:
            self.segments.drop_all()
            journal.begin(making)
        return journal

    def _forget(self) -> None:
        for path in (self._journal_path, self.partial_path):
            path.unlink(missing_ok=True)
        self.segments.drop_all()

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner before us may have finished and renamed the file between our open and our lock.
            if os.path.samestat(os.fstat(fd), self.partial_path.stat()):
                return
        except (BlockingIOError, FileNotFoundError):
            pass
        raise OutputDenied(
            f"Another process is preparing into {str(self.into)!r}.",
            hint="Wait for it to finish, then run the same command again.",
        )

    def seal(self, partial: Partial, record: Record, suffix: str) -> Path:
        """Turn the partial file into the finished artifact; a power cut leaves either of them whole."""
        partial.sync()
        path = self.artifact_path(suffix)
        with told(path):
            self._write_record(record)
            partial.path.replace(path)
            self._journal_path.unlink(missing_ok=True)
            self._sync_folder()
        self.segments.drop_all()
        return path

    def _write_record(self, record: Record) -> None:
        fresh = self._record_path.with_suffix(".json.new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"schema": _SCHEMA, **to_builtins(record)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._record_path)

    def _sync_folder(self) -> None:
        fd = os.open(self.into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _read_record(self) -> Record | None:
        try:
            facts = json.loads(self._record_path.read_bytes())
            if facts.pop("schema") != _SCHEMA:
                return None
            making = Making.from_dict(facts.pop("making"))
            return Record(making=making, warnings=tuple(facts.pop("warnings")), **facts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Missing, or not one of ours: either way there is nothing to reuse.
            return None


def is_as_sealed(artifact: str | os.PathLike[str]) -> bool:
    """Whether a finished artifact still is, byte for byte, what `prepare` made. Blocks for as long as reading it takes.

    False also where its record is gone.
    """
    path = Path(artifact)
    return Spool(path.parent).is_as_sealed(path)


def _digest(path: Path) -> str | None:
    with suppress(OSError), path.open("rb") as file:
        digest = xxhash.xxh3_128()
        while chunk := file.read(_COPY_BYTES):
            digest.update(chunk)
        return digest.hexdigest()
    return None

"""The folder an artifact grows in.

    <into>/                    mode 0700, one artifact
        artifact.partial       while it is being made; locked by its maker; append-only
        artifact.json          what the finished artifact is and was made from
        artifact<suffix>       finished; there only if the record is

A record is written first and the rename comes last, so a finished artifact always has its record; the
digest in it tells an artifact of another generation apart.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from .errors import NoSpace, OutputDenied, PreprocessError
from .identity import SourceIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .recipes import RecipeName

_SCHEMA = 1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Making:
    """What an artifact is made from and how: equal makings give equal bytes.

    Attributes:
        source: The recording.
        recipe: Name of the recipe.
        arguments: ffmpeg's arguments without program and file names.
        ffmpeg: Version and build of the tool.
    """

    source: SourceIdentity
    recipe: RecipeName
    arguments: tuple[str, ...]
    ffmpeg: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """What the sidecar says about a finished artifact."""

    making: Making
    size_bytes: int
    digest: str
    duration_s: float | None
    warnings: tuple[str, ...]


class Partial:
    """The growing file. Appended to by one process; `watermark_bytes` of it are on the disk for good."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._digest = xxhash.xxh3_128()
        self.path = path
        self.size_bytes = 0
        self.watermark_bytes = 0

    def append(self, data: bytes) -> None:
        """Write all of `data` at the end. Raises `NoSpace` or `OutputDenied`."""
        with _told(self.path):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        self._digest.update(data)
        self.size_bytes += len(data)

    def sync(self) -> None:
        """Bring all that was appended onto the disk; only then the watermark moves."""
        size_bytes = self.size_bytes
        with _told(self.path):
            os.fsync(self._fd)
        self.watermark_bytes = size_bytes

    def digest(self) -> str:
        """xxh3-128 of everything appended, in hex."""
        return self._digest.hexdigest()


class Spool:
    """One folder with at most one artifact in it."""

    def __init__(self, into: Path) -> None:
        self.into = into
        self.partial_path = into / "artifact.partial"
        self._record_path = into / "artifact.json"

    def artifact_path(self, suffix: str) -> Path:
        """Where the finished artifact is, or will be."""
        return self.into / f"artifact{suffix}"

    def create(self) -> None:
        """Make the folder, readable by nobody else. Raises `OutputDenied` or `NoSpace`."""
        with _told(self.into):
            self.into.mkdir(mode=0o700, parents=True, exist_ok=True)

    def finished(self, making: Making, suffix: str) -> Record | None:
        """The record of an artifact made just so and still whole, else None. Reads all of the artifact."""
        record = self._read_record()
        if record is None or not _equal(record.making, making):
            return None
        return record if _digest(self.artifact_path(suffix)) == record.digest else None

    def is_as_sealed(self, path: Path) -> bool:
        """Whether the finished artifact at `path` is what was sealed here. Reads all of it."""
        record = self._read_record()
        return record is not None and _digest(path) == record.digest

    @contextmanager
    def partial(self) -> Iterator[Partial]:
        """Start the growing file afresh and hold its lock; an error on the way removes it.

        The lock dies with its owner, so what a killed process left behind is simply begun again.

        Raises:
            OutputDenied: The folder cannot be written, or another process is at it.
        """
        with _told(self.partial_path):
            fd = os.open(self.partial_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._lock(fd)
            os.ftruncate(fd, 0)
            try:
                yield Partial(fd, self.partial_path)
            except BaseException:
                self.partial_path.unlink(missing_ok=True)
                raise
        finally:
            os.close(fd)

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
        with _told(path):
            self._write_record(record)
            partial.path.replace(path)
            self._sync_folder()
        return path

    def _write_record(self, record: Record) -> None:
        fresh = self._record_path.with_suffix(".json.new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"schema": _SCHEMA, **asdict(record)}, file, indent=1)
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
            making = facts.pop("making")
            return Record(
                making=Making(
                    source=SourceIdentity(**making["source"]),
                    recipe=making["recipe"],
                    arguments=tuple(making["arguments"]),
                    ffmpeg=tuple(making["ffmpeg"]),
                ),
                warnings=tuple(facts.pop("warnings")),
                **facts,
            )
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


def _equal(one: Making, other: Making) -> bool:
    same_method = (one.recipe, one.arguments, one.ffmpeg) == (other.recipe, other.arguments, other.ffmpeg)
    same_time = one.source.mtime_ns == other.source.mtime_ns
    return same_method and same_time and one.source.same_content(other.source)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn the system's refusals into ours."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: OSError) -> PreprocessError:
    """The error to raise for a failed write at `path`."""
    if error.errno in _FULL:
        return NoSpace(
            f"The disk of {str(path.parent)!r} is full.", hint="Free some space there and run the same command again."
        )
    return OutputDenied(
        f"{str(path)!r} cannot be written: {error.strerror or error}.",
        hint="Check the folder's permissions and its disk.",
    )

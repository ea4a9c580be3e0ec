"""What is known to be on the disk of an artifact that is still being made.

A text file of JSON lines beside it, written only after the bytes it speaks of: first what is being made, then a line
for every run of bytes that is there for good. A line that a power cut tore, and everything after it, does not count.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field, to_builtins

from .identification import SourceIdentity

if TYPE_CHECKING:
    from pathlib import Path

    from .recipes import RecipeName

_SCHEMA: Final = 1


class Making(Struct, frozen=True):
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

    def equals(self, other: Making) -> bool:
        """Whether both give the same bytes; a recording that was only moved still does."""
        same_method = (self.recipe, self.arguments, self.ffmpeg) == (other.recipe, other.arguments, other.ffmpeg)
        same_time = self.source.mtime_ns == other.source.mtime_ns
        return same_method and same_time and self.source.same_content(other.source)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Making:
        """The inverse of `msgspec.to_builtins`. Raises `KeyError` or `TypeError` where it is not one."""
        return cls(
            source=SourceIdentity(**facts["source"]),
            recipe=facts["recipe"],
            arguments=tuple(facts["arguments"]),
            ffmpeg=(facts["ffmpeg"][0], facts["ffmpeg"][1]),
        )


class Note(Struct, frozen=True):
    """A run of bytes that is on the disk.

    Attributes:
        stop_bytes: Where it ends in the artifact; it begins where the one before ends.
        segment: Number of the slice it holds; None where the artifact is not made of slices.
        pages: How many Ogg pages are in it.
        sound: xxh3-128 of the slice's sound, overlap included, in hex.
        digest: xxh3-128 of the bytes, in hex.
    """

    stop_bytes: int
    segment: int | None = None
    pages: int = 0
    sound: str = ""
    digest: str = ""


class Journal(Struct):
    """The notes of one artifact, of one generation: bytes of another are never mixed with its own."""

    path: Path
    generation: str = ""
    notes: list[Note] = field(default_factory=list)

    @property
    def stop_bytes(self) -> int:
        """So many bytes are there for good."""
        return self.notes[-1].stop_bytes if self.notes else 0

    def begin(self, making: Making) -> None:
        """Forget everything; what is made from now on is another generation. Raises `OSError`."""
        self.generation, self.notes = uuid.uuid4().hex, []
        head = {"schema": _SCHEMA, "generation": self.generation, "making": to_builtins(making)}
        self._write(head, os.O_TRUNC)

    def add(self, note: Note) -> None:
        """Write a note, and bring it onto the disk. Raises `OSError`."""
        self._write({key: value for key, value in to_builtins(note).items() if value or key == "segment"}, os.O_APPEND)
        self.notes.append(note)

    def _write(self, line: dict[str, object], how: int) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
        try:
            os.write(fd, json.dumps(line).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)

    @classmethod
    def read(cls, path: Path, making: Making) -> Journal:
        """What was noted of an artifact made just so; empty, without a generation, where there is none."""
        journal = cls(path)
        try:
            head, *lines = path.read_bytes().split(b"\n")
            facts = json.loads(head)
            if facts["schema"] != _SCHEMA or not Making.from_dict(facts["making"]).equals(making):
                return journal
            journal.generation = str(facts["generation"])
        except (OSError, ValueError, KeyError, TypeError):
            return journal
        for line in lines[:-1]:  # after the last newline comes nothing, or half a line
            try:
                journal.notes.append(Note(**json.loads(line)))
            except (ValueError, TypeError):
                break
        journal._rewrite_if_torn(lines)
        return journal

    def _rewrite_if_torn(self, lines: list[bytes]) -> None:
        """Cut off what does not count, or the next note would be glued to it."""
        if len(self.notes) == len(lines) - 1 and not lines[-1]:
            return
        with self.path.open("r+b") as file:
            for _ in range(len(self.notes) + 1):
                file.readline()
            file.truncate(file.tell())

"""Lists the recordings of a folder, one at a time: never more than the names of the folders it stands in."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ..core.selection import HEAD_BYTES, Passed, Selection, looks_like_a_recording
from ..errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Found(Struct, frozen=True):
    """A file that looks like a recording, or was named as one, and what its directory entry tells, if there is one."""

    path: Path
    facts: os.stat_result | None


class Folder(Struct):
    """A folder of recordings and all below it, in the order of names. Blocks on the disk.

    Linked folders are looked into, every folder once: a link that leads back ends there. `but` is a folder that is
    never looked into. What was passed over in the last listing is counted in `passed`; what could not be read is in
    `unreadable`.
    """

    root: Path
    selection: Selection = field(default_factory=Selection)
    but: Path | None = None
    passed: Counter[Passed] = field(default_factory=Counter)
    unreadable: list[RecordingError] = field(default_factory=list)

    def recordings(self) -> Iterator[Found]:
        """The recordings, as they are listed.

        Raises:
            RecordingError: the folder itself is not there, or cannot be read.
        """
        self.passed.clear()
        self.unreadable.clear()
        seen = {_who(self.but.stat())} if self.but is not None and self.but.exists() else set()
        try:
            seen.add(_who(self.root.stat()))
            entries = _sorted(self.root)
        except OSError as error:
            raise unreadable(self.root, error) from error
        yield from self._within(entries, "", seen)

    def _within(self, entries: list[os.DirEntry[str]], below: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
        for entry in entries:
            path = f"{below}{entry.name}"
            try:
                if entry.is_dir():
                    yield from self._below(entry, path, seen)
                    continue
                why = self.selection.judge(path)
                found = None if why else self._look(entry, path)
            except OSError as error:
                self.unreadable.append(unreadable(Path(entry.path), error))
                continue
            if isinstance(found, Found):
                yield found
            else:
                self.passed[why or found or Passed.OTHER] += 1

    def _below(self, entry: os.DirEntry[str], path: str, seen: set[tuple[int, int]]) -> Iterator[Found]:
        if not self.selection.enters(path):
            return
        who = _who(entry.stat())
        if who not in seen:
            seen.add(who)
            yield from self._within(_sorted(Path(entry.path)), f"{path}/", seen)

    def _look(self, entry: os.DirEntry[str], path: str) -> Found | Passed:
        if not entry.is_file():
            return Passed.BROKEN if entry.is_symlink() else Passed.OTHER
        facts = entry.stat()
        if not facts.st_size:
            return Passed.EMPTY
        if self.selection.is_told_by_bytes(path):
            with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - of thousands, none needs a Path first
                if not looks_like_a_recording(file.read(HEAD_BYTES)):
                    return Passed.OTHER
        return Found(Path(entry.path), facts)


def unreadable(path: Path, error: OSError) -> RecordingError:
    """The error for a file or folder that the disk does not give."""
    return RecordingError(
        f"{path} cannot be read: {error.strerror or error}",
        hint="make it readable, or leave it out with `--exclude`",
        reason="Unreadable",
    )


def _sorted(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _who(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino

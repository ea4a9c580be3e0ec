"""When a file that somebody else writes has come to its end: it has not changed for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable


class Entry(Struct, frozen=True):
    """What a directory tells of a file. One that was replaced, or written to, has another."""

    inode: int
    size_bytes: int
    mtime_ns: int


class Settling(Struct):
    """Files that are waited for until they have been the same for `settle_s` seconds, each handed out once.

    How long is measured by our own looks: clocks of cameras, of other machines and of file systems tell what they
    like. Of what was handed out only a number each is kept.
    """

    settle_s: float
    _waiting: dict[str, tuple[Entry, float]] = field(default_factory=dict)
    _handed: set[int] = field(default_factory=set)

    @property
    def waiting(self) -> frozenset[str]:
        """The files that have not settled, or have not been handed out."""
        return frozenset(self._waiting)

    def look(self, seen: Iterable[tuple[str, Entry]], now_s: float) -> list[tuple[str, Entry]]:
        """Take in all files that are there now. Returns those that have settled; whoever takes one calls `hand_out`."""
        waiting: dict[str, tuple[Entry, float]] = {}
        handed: set[int] = set()
        settled: list[tuple[str, Entry]] = []
        for path, entry in seen:
            mark = hash((path, entry))
            if mark in self._handed:
                handed.add(mark)
                continue
            before, since_s = self._waiting.get(path, (entry, now_s))
            waiting[path] = entry, since_s if before == entry else now_s
            if now_s - waiting[path][1] >= self.settle_s:
                settled.append((path, entry))
        self._waiting, self._handed = waiting, handed
        return settled

    def hand_out(self, path: str, entry: Entry) -> None:
        """It is taken: not again, unless it changes."""
        self._waiting.pop(path, None)
        self._handed.add(hash((path, entry)))

    def hand_out_all(self) -> None:
        """What is there is nobody's business; only what comes or changes is."""
        for path, (entry, _) in list(self._waiting.items()):
            self.hand_out(path, entry)

    def restart(self, path: str, entry: Entry, now_s: float) -> None:
        """It has not ended, whatever its directory says: begin to wait anew."""
        self._waiting[path] = entry, now_s

    def take_back(self, path: str, entry: Entry, due_s: float) -> None:
        """Nothing came of it: it is handed out once more, from `due_s` on."""
        self._handed.discard(hash((path, entry)))
        self._waiting[path] = entry, due_s - self.settle_s

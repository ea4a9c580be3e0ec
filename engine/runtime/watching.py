"""Watches a folder into which recordings are dropped, by looking again and again: that works on any file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from msgspec import Struct, field

from ..core.settling import Entry, Settling
from ..errors import RecordingError
from ..events import Waiting
from .folder import Found
from .writers import being_written

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ..events import Event
    from .clock import Clock
    from .folder import Folder

_LOOKS: Final = 5  # in the time that a file has to be the same
_SOONEST_S: Final = 0.2
_LATEST_S: Final = 5.0
_SHARE: Final = 20  # a look that takes long, at a slow share, leaves twenty times as long to others
_AGAIN_S: Final = 60.0  # a stick that was pulled out, a full disk


class Watch(Struct):
    """A folder whose recordings are found when they have not changed for `settle_s` seconds and nobody writes them.

    A folder that goes away is waited for. With `new_only` what is there at first is not found; with `once` nothing
    else is, and the watch ends with the last of it.
    """

    folder: Folder
    settle_s: float
    clock: Clock
    emit: Callable[[Event], None]
    new_only: bool = False
    once: bool = False
    _returned: list[tuple[str, Entry, float]] = field(default_factory=list)
    _entries: dict[str, Entry] = field(default_factory=dict)
    _away: bool = False

    async def found(self) -> AsyncGenerator[Found]:
        """Recordings as they settle.

        Raises:
            RecordingError: the folder is not there at the beginning.
        """
        settling, took_s = Settling(self.settle_s), 0.0
        await anyio.to_thread.run_sync(self._settled, settling)
        if self.new_only:
            settling.hand_out_all()
        first = settling.waiting
        while first & settling.waiting or not self.once:
            await self.clock.sleep(max(_SOONEST_S, min(self.settle_s / _LOOKS, _LATEST_S), took_s * _SHARE))
            self._take_back(settling)
            began_s = self.clock.monotonic()
            settled = await self._look(settling)
            took_s = self.clock.monotonic() - began_s
            for path, entry in settled:
                facts = _facts(path)
                if (path in first or not self.once) and facts is not None and _entry(facts) == entry:
                    settling.hand_out(path, entry)
                    self._entries[path] = entry
                    yield Found(Path(path), facts)

    def return_(self, path: Path) -> None:
        """Nothing came of a recording, for no fault of its own: it is found once more, in a while."""
        entry = self._entries.pop(str(path), None)
        if entry is not None:
            self._returned.append((str(path), entry, self.clock.monotonic() + _AGAIN_S))

    def done(self, path: Path) -> None:
        """Something came of it, good or bad: it is not found again unless it changes."""
        self._entries.pop(str(path), None)

    def _take_back(self, settling: Settling) -> None:
        while self._returned:
            settling.take_back(*self._returned.pop())

    async def _look(self, settling: Settling) -> list[tuple[str, Entry]]:
        try:
            settled: list[tuple[str, Entry]] = await anyio.to_thread.run_sync(self._settled, settling)
        except RecordingError:
            if not self._away:
                self.emit(Waiting("", f"the folder {self.folder.root} is gone; it may come back", None))
            self._away = True
            return []
        self._away = False
        return settled

    def _settled(self, settling: Settling) -> list[tuple[str, Entry]]:
        """What has settled, and is nobody's to write. Blocks on the disk; runs in a thread of its own."""
        now_s = self.clock.monotonic()
        listed = self.folder.recordings()
        seen = ((str(found.path), _entry(found.facts)) for found in listed if found.facts is not None)
        settled = settling.look(seen, now_s)
        written = being_written([path for path, _ in settled]) if settled else frozenset()
        for path, entry in settled:
            if path in written:
                settling.restart(path, entry, now_s)
        return [(path, entry) for path, entry in settled if path not in written]


def _entry(facts: os.stat_result) -> Entry:
    return Entry(facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _facts(path: str) -> os.stat_result | None:
    """What the directory tells of a file at this moment: a place may have become free long after the look."""
    try:
        return os.stat(path)  # noqa: PTH116 - of what may be gone, nothing but this
    except OSError:
        return None

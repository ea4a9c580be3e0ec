"""Brings bytes into the growing file, waits for room on its disk, and tells how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from .errors import NoSpace
from .progress import Paused, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .journal import Note
    from .partial import Partial
    from .progress import Report

_ROOM_EVERY_S: Final = 2.0  # while a disk is full nothing else is to be done, and nobody frees it within less


class Growth:
    """One artifact as it grows in one run.

    Attributes:
        partial: Its file.
        done_s: Seconds of the recording that are in it.
        speed: Seconds of recording per second of work, if known.
    """

    def __init__(self, partial: Partial, total_s: float | None, report: Report | None, *, waits_for_room: bool) -> None:
        self.partial = partial
        self.done_s = 0.0
        self.speed: float | None = None
        self._total_s = total_s
        self._report = report
        self._waits_for_room = waits_for_room

    def tell(self) -> None:
        """Report where it stands."""
        partial = self.partial
        self._say(Progress(self.done_s, self._total_s, partial.size_bytes, partial.watermark_bytes, self.speed))

    async def append(self, data: bytes) -> None:
        """Write all of `data` at the end.

        Raises:
            NoSpace: The disk is full, and nobody wants to wait for room.
            OutputDenied: It cannot be written for another reason.
            Diverged: Other bytes are there already.
        """
        begin_bytes = self.partial.size_bytes
        await self.with_room(lambda: self.partial.append(data[self.partial.size_bytes - begin_bytes :]))

    async def sync(self, note: Note | None = None) -> None:
        """Move the watermark up to all that was appended. Raises as `append` does."""
        await self.with_room(lambda: self.partial.sync(note))

    async def with_room(self, write: Callable[[], object]) -> None:
        """Do a write that can be repeated; where the disk is full, wait until it no longer is, if that is wanted."""
        told = False
        while True:
            try:
                await anyio.to_thread.run_sync(write)
            except NoSpace as error:
                if not self._waits_for_room:
                    raise
                if not told:
                    self._say(Paused(error.message, "free some space there; it goes on by itself"))
                told = True
                await anyio.sleep(_ROOM_EVERY_S)
            else:
                return

    def _say(self, event: Progress | Paused) -> None:
        if self._report is not None:
            self._report(event)

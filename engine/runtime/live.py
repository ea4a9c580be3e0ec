"""A job's live progress, left by its owner for other processes to show: one small file, replaced whole.

It is a courtesy and not a record: losing it loses nothing, so it is never fsynced.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Final

from ..events import Checked, Event, Prepared, Uploaded, as_dict, from_dict
from ..redaction import scrub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .clock import Clock

_EVERY_S: Final = 0.25
_DRAFT: Final = "live.new"


class LiveWriter:
    """An event sink that keeps the newest event in a file."""

    def __init__(self, folder: Path, clock: Clock, onward: Callable[[Event], None]) -> None:
        self._path = folder / "live.json"
        self._clock = clock
        self._onward = onward
        self._written_s = float("-inf")

    def __call__(self, event: Event) -> None:
        """Note the event and pass it on."""
        frequent = isinstance(event, (Checked, Prepared, Uploaded))
        now_s = self._clock.monotonic()
        if not frequent or now_s - self._written_s >= _EVERY_S:
            self._written_s = now_s
            draft = self._path.with_name(_DRAFT)
            with contextlib.suppress(OSError):  # nobody's progress bar is worth a failed upload
                draft.write_text(scrub(json.dumps(as_dict(event))))
                draft.replace(self._path)
        self._onward(event)


def has_draft(folder: Path) -> bool:
    """Whether a kill has left half-written progress there."""
    return (folder / _DRAFT).exists()


def drop_draft(folder: Path) -> None:
    """Remove it. Only for the job's owner: another's draft is about to be progress."""
    (folder / _DRAFT).unlink(missing_ok=True)


class LiveReader:
    """Reads what another process's `LiveWriter` leaves; each event once.

    Events are told apart by what they say: a file system gives the inode of a replaced file to the next one.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "live.json"
        self._seen = b""

    def newest(self) -> Event | None:
        """The owner's newest event, if there is one not returned before."""
        try:
            content = self._path.read_bytes()
            if content == self._seen:
                return None
            value = json.loads(content)
        except (OSError, ValueError):
            return None
        self._seen = content
        return from_dict(value) if isinstance(value, dict) else None

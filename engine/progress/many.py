"""Bars for many recordings: one for all of them, and below it a line for each that is under way.

A line goes when its recording has arrived; what is left behind is the bar for all, and what had to be said.
"""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from ..events import (
    Checked,
    Completed,
    Counted,
    Failed,
    Opened,
    Polled,
    Prepared,
    Sealed,
    Submitted,
    Uploaded,
    Waiting,
    Warned,
)
from ..redaction import scrub
from .bars import Bar, write
from .outlook import Outlook
from .sentences import printable, sentence, size, waiting

if TYPE_CHECKING:
    from typing import TextIO

    from ..events import Event

_NAME_WIDTH: Final = 28
_LINE: Final = "  {desc}|{bar:16}| {note}"
_ALL: Final = "{desc}: {n_fmt} of {total_fmt}|{bar}| {note}"
_ALL_UNCOUNTED: Final = "{desc}: {n_fmt} {note}"
_STEPS: Final = 1000  # of a line's bar


class Many:
    """Renders the events of any number of jobs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._names: dict[str, str] = {}
        self._lines: dict[str, Bar] = {}
        self._outlooks: dict[str, Outlook] = {}
        self._all = Bar(
            file=stream, desc="recordings", dynamic_ncols=True, bar_format=_ALL_UNCOUNTED, position=0, smoothing=0
        )

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Counted():
                self._count(event)
            case Opened():
                name = printable(PurePath(event.source).name)
                self._names[event.job_id] = name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
            case Prepared() | Sealed() | Uploaded():
                self._move(event)
            case Checked():
                self._line(event.job_id, f"checking {size(event.total_bytes)}")
            case Waiting() if event.job_id:
                self._line(event.job_id, scrub(printable(waiting(event))))
            case Polled():
                self._line(event.job_id, printable(f"the service is at work ({event.status})"))
            case Submitted() | Completed() | Failed():
                self._end(event.job_id)
            case Warned():
                name = self._names.get(event.job_id, "")
                write(f"{name}: {sentence(event)}" if name else sentence(event) or "", self._stream)
            case _:
                pass

    def close(self) -> None:
        """Take the lines away; the bar for all stays where it stands."""
        for job_id in list(self._lines):
            self._end(job_id)
        self._all.close()

    def _count(self, event: Counted) -> None:
        self._all.total = event.total
        self._all.bar_format = _ALL if event.total else _ALL_UNCOUNTED
        self._all.n = event.done + event.failed
        self._all.note = f"{event.failed} failed" if event.failed else ""
        self._all.refresh()

    def _move(self, event: Prepared | Sealed | Uploaded) -> None:
        outlook = self._outlooks.setdefault(event.job_id, Outlook())
        outlook.take(event, time.monotonic())
        if outlook.acked_bytes or isinstance(event, Uploaded):
            whole = max(outlook.expected_bytes, 1)
            self._line(event.job_id, f"{size(outlook.acked_bytes)} of {size(whole)} sent", outlook.acked_bytes / whole)
        else:
            self._line(event.job_id, f"{outlook.made_s:.0f} s of sound prepared")

    def _line(self, job_id: str, text: str, share: float | None = None) -> None:
        line = self._lines.get(job_id)
        if line is None:
            name = self._names.get(job_id, job_id).ljust(_NAME_WIDTH)
            line = Bar(file=self._stream, desc=name, total=_STEPS, bar_format=_LINE, leave=False, dynamic_ncols=True)
            self._lines[job_id] = line
        if share is not None:
            line.n = max(line.n, min(_STEPS, int(share * _STEPS)))
        changed, line.note = share is None and line.note != text, text
        if changed:
            line.refresh()
        else:
            line.update(0)  # as often as tqdm finds good

    def _end(self, job_id: str) -> None:
        self._outlooks.pop(job_id, None)
        self._names.pop(job_id, None)
        line = self._lines.pop(job_id, None)
        if line is not None:
            line.close()

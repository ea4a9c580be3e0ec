"""Bars for a person at a terminal: one for preparing, one for uploading. The only importer of tqdm.

The upload bar moves by acknowledged bytes alone and starts where a resumed job stands, so that its rate and its
time left come from what really arrived in this run. It never goes back. While a recording is still being encoded the
two are one bar: of what there will be to send, with the time left of the longer of the two.
"""

from __future__ import annotations

import sys
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from tqdm import tqdm

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
    Transferred,
    Uploaded,
    Waiting,
)
from ..redaction import scrub
from .outlook import Outlook
from .sentences import duration, pace, printable, sentence, size, waiting

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import TextIO

    from ..events import Event
    from .many import Many

_NAME_WIDTH: Final = 24
_PERCENT_AND_RATE: Final = "{desc}: {whole:3d}%|{bar}{r_bar}"
_NO_END: Final = "{desc}: {n_fmt}B sent{postfix}"
_BOTH: Final = "{desc}: {whole:3d}%|{bar}| {n_fmt} of about {total_fmt}B sent{postfix}"
_SMOOTHING: Final = 0.2  # about the last ten acknowledgements: steady enough to read, quick enough to notice


class Bar(tqdm):  # type: ignore[type-arg]  # a tqdm takes no parameter when the program runs
    """A bar whose percentage is rounded down: it says 100 only when there is nothing left."""

    whole = 0
    note = ""

    @property
    def format_dict(self) -> dict[str, object]:
        """What a bar's format may name; `whole` is the percentage, which never goes back though a total may grow.

        `note` is free text, which tqdm does not put a comma before.
        """
        self.whole = max(self.whole, int(100 * self.n // self.total) if self.total else 0)
        return {**super().format_dict, "whole": self.whole, "note": self.note}


def write(text: str, stream: TextIO) -> None:
    """Write a line above all bars."""
    tqdm.write(text, file=stream)


def aside() -> AbstractContextManager[None]:
    """Take all bars away while the block writes to the terminal, and bring them back."""
    guard: AbstractContextManager[None] = tqdm.external_write_mode(file=sys.stdout)
    return guard


class Bars:
    """Renders the events of a few jobs; those of many, once their number is told, are left to `many`."""

    def __init__(self, stream: TextIO) -> None:
        tqdm.monitor_interval = 0  # no thread of its own: every update comes from an event
        self._stream = stream
        self._many: Many | None = None
        self._names: dict[str, str] = {}
        self._bars: dict[tuple[str, str], Bar] = {}
        self._outlooks: dict[str, Outlook] = {}
        self._paces: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._many is None and isinstance(event, Counted):
            from .many import Many

            self._many = Many(self._stream)
        if self._many is not None:
            self._many(event)
        else:
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Opened():
                name = printable(PurePath(event.source).name)
                self._names[event.job_id] = name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
                self._say(event)
            case Prepared():
                outlook = self._outlooks.setdefault(event.job_id, Outlook())
                outlook.take(event, time.monotonic())
                if ("upload", event.job_id) in self._bars:
                    self._both(event.job_id, outlook)
                else:
                    self._prepared(event)
            case Sealed():
                self._sealed(event)
            case Uploaded():
                self._uploaded(event)
            case Checked():
                self._checked(event)
            case Waiting():
                self._state(event.job_id, scrub(printable(waiting(event))))
            case Polled():
                self._state(event.job_id, printable(f"the service is at work ({event.status})"))
            case Submitted() | Transferred() | Completed() | Failed():
                self._outlooks.pop(event.job_id, None)
                self._paces.pop(event.job_id, None)
                self._end("prepare", event.job_id)
                self._end("upload", event.job_id)
                self._end("state", event.job_id)
                self._say(event)
            case _:
                self._say(event)

    def close(self) -> None:
        """Close every bar where it stands."""
        if self._many is not None:
            self._many.close()
        for what, job_id in list(self._bars):
            self._end(what, job_id)

    def _say(self, event: Event) -> None:
        text = sentence(event)
        if text is not None:
            tqdm.write(text, file=self._stream)

    def _prepared(self, event: Prepared) -> None:
        bar = self._bars.get(("prepare", event.job_id))
        if bar is None:
            percent = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
            bar = self._open(
                "prepare",
                event.job_id,
                desc=f"preparing {self._name(event.job_id)}",
                total=event.total_s,
                bar_format=percent if event.total_s else "{desc}: {n:.0f} s of sound{postfix}",
            )
        if event.speed:
            bar.set_postfix_str(f"{event.speed:.0f} times real time", refresh=False)
        bar.update(max(0.0, event.done_s - bar.n))

    def _sealed(self, event: Sealed) -> None:
        self._end("prepare", event.job_id)
        outlook, bar = self._outlooks.pop(event.job_id, None), self._bars.get(("upload", event.job_id))
        if outlook is not None and bar is not None:
            bar.bar_format, bar.total = _PERCENT_AND_RATE, event.size_bytes
            bar.set_postfix_str("", refresh=False)
        self._say(event)

    def _both(self, job_id: str, outlook: Outlook) -> None:
        """Show preparing and uploading as one."""
        bar = self._bars.get(("upload", job_id))
        if bar is None:
            self._end("prepare", job_id, leave=False)
            bar = self._open(
                "upload",
                job_id,
                desc=self._name(job_id) or "uploading",
                total=outlook.expected_bytes,
                initial=outlook.acked_bytes,
                unit_scale=True,
                smoothing=_SMOOTHING,
                bar_format=_NO_END,
            )
        elif outlook.acked_bytes > bar.n:
            self._end("state", job_id)
        bar.total = outlook.expected_bytes
        bar.bar_format = _BOTH if outlook.prepared_share else _NO_END
        left = "" if outlook.left_s is None else f", {duration(outlook.left_s)} left"
        share = outlook.prepared_share
        prepared = f"{int(100 * share)} % prepared" if share else f"{outlook.made_s:.0f} s of sound prepared"
        bar.set_postfix_str(", ".join(filter(None, (prepared + left, self._paces.get(job_id)))), refresh=False)
        bar.n = max(bar.n, outlook.acked_bytes)
        bar.refresh()

    def _uploaded(self, event: Uploaded) -> None:
        outlook = self._outlooks.get(event.job_id)
        self._paces[event.job_id] = pace(event)
        if outlook is not None:
            outlook.take(event, time.monotonic())
            self._both(event.job_id, outlook)
            return
        bar = self._bars.get(("upload", event.job_id))
        if bar is None:
            bar = self._open(
                "upload",
                event.job_id,
                desc=f"uploading {self._name(event.job_id)}",
                total=event.total_bytes,
                initial=event.acked_bytes,
                unit="B",
                unit_scale=True,
                smoothing=_SMOOTHING,
                bar_format=_PERCENT_AND_RATE,
            )
        elif event.acked_bytes > bar.n:
            self._end("state", event.job_id)
        bar.total = event.total_bytes
        unconfirmed = f"{size(event.unconfirmed_bytes)} on the way" if event.unconfirmed_bytes else ""
        bar.set_postfix_str(", ".join(filter(None, (self._paces[event.job_id], unconfirmed))), refresh=False)
        if event.acked_bytes > bar.n:
            bar.update(event.acked_bytes - bar.n)
        else:
            bar.refresh()

    def _checked(self, event: Checked) -> None:
        bar = self._bars.get(("check", event.job_id))
        if bar is None:
            bar = self._open(
                "check",
                event.job_id,
                desc=f"checking {self._name(event.job_id)}".rstrip(),
                total=event.total_bytes,
                unit="B",
                unit_scale=True,
                bar_format=_PERCENT_AND_RATE,
            )
        bar.update(max(0, event.done_bytes - bar.n))
        if event.done_bytes >= event.total_bytes:
            self._end("check", event.job_id)

    def _state(self, job_id: str, text: str) -> None:
        bar = self._bars.get(("state", job_id))
        if bar is None:
            bar = self._open("state", job_id, bar_format="{desc}")
        bar.set_description_str(f"{self._name(job_id)}: {text}" if self._name(job_id) else text)

    def _open(self, what: str, job_id: str, **settings: object) -> Bar:
        bar = Bar(file=self._stream, dynamic_ncols=True, leave=what not in {"state", "check"}, **settings)  # type: ignore[call-overload]  # the settings are tqdm's own keywords
        self._bars[what, job_id] = bar
        opened: Bar = bar
        return opened

    def _end(self, what: str, job_id: str, *, leave: bool | None = None) -> None:
        bar = self._bars.pop((what, job_id), None)
        if bar is not None:
            bar.leave = bar.leave if leave is None else leave
            bar.set_postfix_str("", refresh=False)
            bar.close()

    def _name(self, job_id: str) -> str:
        return self._names.get(job_id, "")

"""What each event says to a person: one sentence or nothing. Shared by bars and plain lines."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, assert_never

from ..events import (
    Checked,
    Completed,
    Counted,
    Decided,
    Failed,
    Opened,
    Polled,
    Prepared,
    Sealed,
    Submitted,
    Transferred,
    Uploaded,
    Waiting,
    Warned,
)
from ..redaction import scrub

if TYPE_CHECKING:
    from ..events import Event

_KILO = 1000.0


def sentence(event: Event) -> str | None:
    """The sentence for an event, or None for one that only moves a bar or is told elsewhere; fit for a terminal."""
    text = _sentence(event)
    return None if text is None else scrub(printable(text))


def _sentence(event: Event) -> str | None:  # noqa: PLR0911 - one arm for each event
    match event:
        case Opened():
            return _opened(event)
        case Decided():
            return event.reason
        case Sealed():
            return _sealed(event)
        case Waiting():
            return waiting(event)
        case Warned():
            return f"warning: {event.message}"
        case Submitted():
            return f"the service has it as {event.processing_id}"
        case Transferred():
            return _transferred(event)
        case Polled():
            return f"the service is at work on {event.processing_id} ({event.status}); waiting for the transcript"
        case Prepared() | Uploaded() | Checked() | Completed() | Failed() | Counted():
            return None
        case _:
            assert_never(event)


def _opened(event: Opened) -> str:
    name = printable(PurePath(event.source).name)
    if event.attached:
        return f"{name}: job {event.job_id} is being worked on by another process; following it"
    if event.done:
        return f"{name}: already done as job {event.job_id}"
    return f"{name}: {'going on with' if event.resumed else 'new'} job {event.job_id}"


def _sealed(event: Sealed) -> str:
    if event.size_bytes == event.source_bytes:
        return f"the recording has ended: {size(event.size_bytes)}"
    return f"prepared: {size(event.size_bytes)} to send instead of {size(event.source_bytes)}"


def waiting(event: Waiting) -> str:
    """Why nothing moves, and for how long if that is known."""
    return f"waiting{'' if event.seconds is None else f' {duration(event.seconds)}'}: {event.reason}"


def _transferred(event: Transferred) -> str:
    rate = "" if event.rate_bytes_s is None else f" at {size(event.rate_bytes_s)}/s"
    retries = f"{event.retries} {'retry' if event.retries == 1 else 'retries'}"
    return (
        f"uploaded {size(event.size_bytes)}{rate}, {event.proof}; "
        f"sent again {size(event.sent_again_bytes)}, {retries}, waited {duration(event.waited_s)}"
    )


def pace(event: Uploaded) -> str:
    """What keeps the upload from going as fast as it could; empty where nothing does."""
    limited = "" if event.limit_bytes_s is None else f"limited to {size(event.limit_bytes_s)}/s"
    return ", ".join(filter(None, (limited, "polite" * event.polite)))


def size(count: float) -> str:
    """Bytes as a person reads them, decimal as on every disk and data plan."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KILO
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """A time span as a person reads it."""
    if seconds < 10:  # noqa: PLR2004 - tenths matter only below ten
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004 - minutes from two on
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - hours from two on


def printable(text: str) -> str:
    """File names are data: nothing in them may move a cursor or hide text."""
    safe = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in safe)

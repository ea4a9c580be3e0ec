"""Shows events: bars for a person, JSON lines for a program, plain lines for a log, or nothing."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import TextIO

    from ..events import Event


class Renderer(Protocol):
    """Takes every event, in order, and writes to stderr only."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the terminal as a person expects it."""


def aside() -> AbstractContextManager[None]:
    """Take the bars away while the block writes to the terminal beside them."""
    bars = sys.modules.get(f"{__name__}.bars")
    return nullcontext() if bars is None else bars.aside()


def make(mode: str, stream: TextIO | None = None) -> Renderer:
    """The renderer for `bar`, `json` or `none`. `bar` becomes plain lines where the stream is no terminal."""
    out = sys.stderr if stream is None else stream
    if mode == "json":
        from .json_lines import JsonLines

        return JsonLines(out)
    if mode == "bar" and out.isatty():
        from .bars import Bars

        return Bars(out)
    from .lines import Lines

    return Lines(out, quiet=mode == "none")

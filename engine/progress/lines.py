"""Plain lines, for logs and pipes: what a person should know, and no bars."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from ..events import Completed, Counted, Failed, Opened, Polled, Submitted, Waiting, Warned
from .sentences import printable, sentence

if TYPE_CHECKING:
    from typing import TextIO

    from ..events import Event

_WORTH_SAYING_S: Final = 2.0  # shorter waits are ordinary and would flood a log


class Lines:
    """Writes a sentence for each event that has one; only warnings when `quiet`."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._polled: set[str] = set()
        self._names: dict[str, str] = {}
        self._many = False

    def __call__(self, event: Event) -> None:
        """Write the event's sentence, if it is worth one."""
        self._many |= isinstance(event, Counted)
        if self._quiet and not isinstance(event, Warned):
            return
        if isinstance(event, Waiting) and event.seconds is not None and event.seconds < _WORTH_SAYING_S:
            return
        if isinstance(event, Polled):
            if event.processing_id in self._polled:
                return  # once is news
            self._polled.add(event.processing_id)
        text, whose = sentence(event), self._whose(event)
        if text is not None:
            self._stream.write(f"{whose}{text}\n")
            self._stream.flush()

    def _whose(self, event: Event) -> str:
        """The name of the recording, where there are many."""
        if isinstance(event, Opened):
            self._names[event.job_id] = printable(PurePath(event.source).name)
            return ""
        if not self._many or isinstance(event, Counted):
            return ""
        over = isinstance(event, Submitted | Completed | Failed)
        name = self._names.pop(event.job_id, "") if over else self._names.get(event.job_id, "")
        return f"{name}: " if name else ""

    def close(self) -> None:
        """Nothing is held back."""

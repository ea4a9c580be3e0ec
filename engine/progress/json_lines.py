"""One JSON object a line for every event, for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..events import as_dict
from ..redaction import scrub

if TYPE_CHECKING:
    from typing import TextIO

    from ..events import Event


class JsonLines:
    """Writes each event as it comes, flushed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(scrub(json.dumps(as_dict(event))) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held back."""

"""Who wants to know what happens to a client's jobs: listeners are called at once, streams read when there is time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from .events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

_EVENTS_KEPT: Final = 10_000  # a reader that falls further behind misses progress, never a result


class Audience:
    """Passes events on. A stream that nobody reads, or nobody has any more, holds nothing up."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._streams: list[MemoryObjectSendStream[Event]] = []

    def stream(self) -> MemoryObjectReceiveStream[Event]:
        """Everything from now on; ends with `close`."""
        sender, receiver = anyio.create_memory_object_stream[Event](_EVENTS_KEPT)
        self._streams.append(sender)
        return receiver

    def add(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` for every event as it happens; it must not block or raise."""
        self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            listener(event)
        for stream in self._streams:
            try:
                stream.send_nowait(event)
            except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                continue

    def close(self) -> None:
        """Nothing more will happen."""
        for stream in self._streams:
            stream.close()

"""What a client sent, sent to the server once more, as by a middlebox that repeats requests."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

_LINGER_S: Final = 1.0  # for the server to act on what came last; its answers are thrown away
_CHUNK_BYTES: Final = 64 * 1024


class Replay:
    """A second connection to `target` that carries what it is fed, `after_s` later."""

    def __init__(self, target: tuple[str, int], after_s: float) -> None:
        self._target = target
        self._after_s = after_s
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    def feed(self, piece: bytes) -> None:
        """Bytes that were handed on to the server just now."""
        self._queue.put_nowait((asyncio.get_running_loop().time() + self._after_s, piece))

    def end(self) -> None:
        """Nothing more will come."""
        self.feed(b"")

    async def run(self) -> None:
        """Send everything again; returns when the server has had its time with it, or hung up."""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*self._target)
            swallowing = asyncio.create_task(_swallow(reader))
            try:
                await self._send(writer)
                await asyncio.wait({swallowing}, timeout=_LINGER_S)
            finally:
                swallowing.cancel()
                writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            due_at, piece = await self._queue.get()
            if not piece:
                return
            await asyncio.sleep(due_at - asyncio.get_running_loop().time())
            writer.write(piece)
            await writer.drain()


async def _swallow(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(_CHUNK_BYTES):
            pass

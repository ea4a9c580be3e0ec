"""One connection through the fault proxy: two directions, and what befalls them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.plan import Fault
    from tests.faults.replay import Replay

STORMED = "reset in a storm"  # in `Connection.suffered`: it was cut at its age
_CHUNK_BYTES = 16 * 1024
# Small buffers, so that a client soon feels what happens behind the proxy. With a delay they bound
# the speed as a real window does: 16 chunks of 16 KiB in flight are 2.6 MB/s at 0.1 s.
_QUEUED_CHUNKS = 16
_ANSWERS_BYTES = 64 * 1024  # heads of answers; no answer here is long
_SLICE_S = 0.05  # a capped link hands over twenty times a second, however slow it is
_CATCHING_UP_S = 0.02  # so late a loop may wake up without costing a shared link any of its rate
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST (socket(7))


@dataclass(slots=True)
class Way:
    """One direction of a connection.

    Attributes:
        ahead: what will strike it, nearest first, and after how many counted bytes.
        flowing: cleared while nothing may move.
        received_bytes: how much came from the sender.
        forwarded_bytes: how much was handed on.
        counted_bytes: how much of that counts for what is ahead.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ahead: list[tuple[int, Literal["cut", "black hole"]]] = field(default_factory=list)
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    received_bytes: int = 0
    forwarded_bytes: int = 0
    counted_bytes: int = 0


@dataclass(slots=True)
class CommonRate:
    """A rate that connections share, in the order in which they ask."""

    bytes_per_s: float
    _free_at: float = 0.0

    async def passed(self, size_bytes: int) -> None:
        """Wait until so many bytes more have passed."""
        self._free_at = max(self._free_at, now() - _CATCHING_UP_S) + size_bytes / self.bytes_per_s
        await asyncio.sleep(self._free_at - now())


class Connection:
    """One connection through the proxy: `up` is the client's way to the server, `down` the way back.

    Attributes:
        suffered: which limits of its fault were reached and have had their effect, in order.
        hurt: something befell it, planned or not: it may end without what was sent over it having arrived.
        ended: nothing more will move.
        armed_s: when the text that arms its fault came by, on the monotonic clock.
        answers: the beginning of what the server said.
    """

    def __init__(
        self,
        fault: Fault,
        up: Way,
        down: Way,
        breaks: Iterator[int],
        replay: Replay | None = None,
        common: CommonRate | None = None,
    ) -> None:
        self.up = up
        self.down = down
        self.suffered: list[str] = []
        self.hurt = replay is not None  # a server may give up a body for the same request on another connection
        self.ended = False
        self.answers = bytearray()
        self._fault = fault
        self._breaks = breaks
        self._replay = replay
        self._common = common
        self._arming = fault.armed_by.encode("latin-1")
        self._armed = not self._arming
        self.armed_s: float | None = None
        self._tail = b""
        self._broken = False
        self._began_at = now()
        self.restore()
        if fault.black_hole_after_bytes is not None:
            up.ahead.append((fault.black_hole_after_bytes, "black hole"))
        if fault.cut_up_after_bytes is not None:
            up.ahead.append((fault.cut_up_after_bytes, "cut"))
        if fault.cut_down_after_bytes is not None:
            down.ahead.append((fault.cut_down_after_bytes, "cut"))
        up.ahead.sort()

    @property
    def struck(self) -> bool:
        """Whether its fault has had an effect."""
        return bool(self.suffered)

    def cut(self, by: Literal["rst", "fin"]) -> None:
        """Break both sides now; what still arrives is thrown away."""
        self._broken = self.hurt = True
        self.restore()
        break_off = reset if by == "rst" else end
        break_off(self.up.writer)
        break_off(self.down.writer)

    def black_hole(self, way: Literal["both", "up", "down"] = "both") -> None:
        """Let nothing move from now on, one way or both, without telling anyone."""
        for name, one in (("up", self.up), ("down", self.down)):
            if way in {name, "both"} and not self._broken:
                self.hurt = True
                one.flowing.clear()

    def restore(self) -> None:
        """Let bytes go on from where they stopped."""
        self.up.flowing.set()
        self.down.flowing.set()

    async def run(self) -> None:
        """Carry bytes both ways until both sides have ended or been broken."""
        timer = None
        if self._fault.cut_after_s is not None:
            timer = asyncio.get_running_loop().call_later(self._fault.cut_after_s, self._cut_as_planned)
        try:
            async with asyncio.TaskGroup() as group:
                for way in (self.up, self.down):
                    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)
                    group.create_task(self._read(way, queue))
                    group.create_task(self._forward(way, queue))
        except* OSError:
            self.cut("rst")  # one side was reset; the other one hears of it
        finally:
            if timer is not None:
                timer.cancel()
            if self._replay is not None:
                self._replay.end()
            self.ended = True
            self.up.writer.close()
            self.down.writer.close()

    async def _read(self, way: Way, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        chunk = b"-"
        while chunk:
            try:
                chunk = await way.reader.read(_CHUNK_BYTES)
            except OSError:
                await way.flowing.wait()  # news of a reset does not cross a black hole either
                raise
            way.received_bytes += len(chunk)
            if way is self.down and len(self.answers) < _ANSWERS_BYTES:
                self.answers += chunk
            await queue.put((now() + self._fault.delay_s, chunk))

    async def _forward(self, way: Way, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            due_at, chunk = await queue.get()
            await asyncio.sleep(due_at - now())
            if not chunk:
                break
            before = self._unarmed_bytes(chunk) if way is self.up else 0
            await self._write(way, chunk[:before])
            await self._write_struck(way, chunk[before:])
        await way.flowing.wait()
        end(way.writer)

    def _unarmed_bytes(self, chunk: bytes) -> int:
        """How much of the client's chunk comes before the text that arms the fault."""
        if self._armed:
            return 0
        known = self._tail + chunk
        found = known.find(self._arming)
        self._armed = found >= 0
        self.armed_s = time.monotonic() if self._armed else None
        self._tail = known[len(known) - len(self._arming) + 1 :]
        return max(0, found - len(known) + len(chunk)) if self._armed else len(chunk)

    async def _write_struck(self, way: Way, chunk: bytes) -> None:
        """Write the chunk up to each limit that lies in it, and let the limit strike there."""
        while self._armed and chunk and way.ahead and way.ahead[0][0] - way.counted_bytes <= len(chunk):
            limit_bytes, what = way.ahead.pop(0)
            room_bytes = limit_bytes - way.counted_bytes
            if next(self._breaks, None) is None:
                continue
            way.counted_bytes = limit_bytes
            await self._write(way, chunk[:room_bytes])
            chunk = chunk[room_bytes:]
            if what == "cut":
                self.suffered.append("cut on the way up" if way is self.up else "cut on the way down")
                self.cut(self._fault.cut_by)
            else:
                self._black_hole_as_planned()
        if self._armed:
            way.counted_bytes += len(chunk)
        await self._write(way, chunk)

    def _cut_as_planned(self) -> None:
        if not self._broken and next(self._breaks, None) is not None:
            self.suffered.append(STORMED)
            self.cut(self._fault.cut_by)

    def _black_hole_as_planned(self) -> None:
        way = self._fault.black_hole_way
        self.suffered.append("black hole" if way == "both" else f"half open, {way} dead")
        self.black_hole(way)
        if self._fault.black_hole_for_s is not None:
            asyncio.get_running_loop().call_later(self._fault.black_hole_for_s, self.restore)

    async def _write(self, way: Way, chunk: bytes) -> None:
        rate = self._fault.rate_bytes_per_s
        step = max(1, int(rate * _SLICE_S)) if rate else _CHUNK_BYTES
        for start in range(0, len(chunk), step):
            if pause_s := self._pause_s():
                await asyncio.sleep(pause_s)
            piece = chunk[start : start + step]
            if way is self.up and self._common is not None:
                await self._common.passed(len(piece))
            await way.flowing.wait()
            if self._broken:
                return
            way.writer.write(piece)
            await way.writer.drain()
            way.forwarded_bytes += len(piece)
            if way is self.up and self._replay is not None:
                self._replay.feed(piece)
            if rate:
                await asyncio.sleep(len(piece) / rate)

    def _pause_s(self) -> float:
        """How long the link that stutters still stands."""
        if self._fault.stutter_s is None:
            return 0.0
        moves_s, stands_s = self._fault.stutter_s
        into_s = (now() - self._began_at) % (moves_s + stands_s)
        return 0.0 if into_s < moves_s else moves_s + stands_s - into_s


def now() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()


def reset(writer: asyncio.StreamWriter) -> None:
    """End the stream with a RST."""
    with contextlib.suppress(OSError):  # closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


def end(writer: asyncio.StreamWriter) -> None:
    """End the stream with a FIN; the other direction stays open."""
    with contextlib.suppress(OSError):  # closed already
        writer.write_eof()

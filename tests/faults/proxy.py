"""A TCP proxy that breaks connections as planned, and counts what it let through.

In a test, whatever its flavour (the proxy runs an event loop in a thread of its own):

    with FaultProxy("127.0.0.1", server_port, Plan({1: Fault(cut_up_after_bytes=100_000)})) as proxy:
        run_client(f"http://127.0.0.1:{proxy.port}/")
    assert proxy.count == 2  # the first connection was cut, the second one passed

From a shell, until SIGINT or SIGTERM; the counts are printed at the end:

    python -m tests.faults.proxy --target 127.0.0.1:8080 --plan '{"otherwise": {"rate_bytes_per_s": 50000}}'
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from tests.faults.plan import Fault, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_CHUNK_BYTES = 16 * 1024
# Small buffers, so that a client soon feels what happens behind the proxy. With a delay they bound
# the speed as a real window does: 16 chunks of 16 KiB in flight are 2.6 MB/s at 0.1 s.
_QUEUED_CHUNKS = 16
_RECEIVE_BUFFER_BYTES = 128 * 1024
_CLOSING_S = 10.0  # far more than loopback needs; a proxy that hangs must not hang its test
_SLICE_S = 0.05  # a capped link hands over twenty times a second, however slow it is
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST (socket(7))

_T = TypeVar("_T")


@dataclass(slots=True)
class Way:
    """One direction of a connection: its ends, the limit ahead if any, how much came, and how much was handed on."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    limit_bytes: int | None = None
    received_bytes: int = 0
    forwarded_bytes: int = 0
    counted_bytes: int = 0


class Connection:
    """One connection through the proxy: `up` is the client's way to the server, `down` the way back.

    `struck` tells that its fault's limit was reached and has had its effect.
    """

    def __init__(self, fault: Fault, up: Way, down: Way, breaks: Iterator[int]) -> None:
        self.up = up
        self.down = down
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.struck = False
        self._fault = fault
        self._breaks = breaks
        self._arming = fault.armed_by.encode("latin-1")
        self._armed = not self._arming
        self._tail = b""
        self._broken = False
        limits = (fault.cut_up_after_bytes, fault.black_hole_after_bytes)
        up.limit_bytes = min((limit for limit in limits if limit is not None), default=None)
        down.limit_bytes = fault.cut_down_after_bytes

    def cut(self, by: Literal["rst", "fin"]) -> None:
        """Break both sides now; what still arrives is thrown away."""
        self._broken = True
        self.flowing.set()
        break_off = _reset if by == "rst" else _end
        break_off(self.up.writer)
        break_off(self.down.writer)

    async def run(self) -> None:
        """Carry bytes both ways until both sides have ended or been broken."""
        try:
            async with asyncio.TaskGroup() as group:
                for way in (self.up, self.down):
                    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)
                    group.create_task(self._read(way, queue))
                    group.create_task(self._forward(way, queue))
        except* OSError:
            self.cut("rst")  # one side was reset; the other one hears of it
        finally:
            self.up.writer.close()
            self.down.writer.close()

    async def _read(self, way: Way, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        chunk = b"-"
        while chunk:
            try:
                chunk = await way.reader.read(_CHUNK_BYTES)
            except OSError:
                await self.flowing.wait()  # news of a reset does not cross a black hole either
                raise
            way.received_bytes += len(chunk)
            await queue.put((_now() + self._fault.delay_s, chunk))

    async def _forward(self, way: Way, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            due_at, chunk = await queue.get()
            await asyncio.sleep(due_at - _now())
            if not chunk:
                break
            before = self._unarmed_bytes(chunk) if way is self.up else 0
            await self._write(way, chunk[:before])
            await self._write_limited(way, chunk[before:])
        await self.flowing.wait()
        _end(way.writer)

    def _unarmed_bytes(self, chunk: bytes) -> int:
        """How much of the client's chunk comes before the text that arms the fault."""
        if self._armed:
            return 0
        known = self._tail + chunk
        found = known.find(self._arming)
        self._armed = found >= 0
        self._tail = known[len(known) - len(self._arming) + 1 :]
        return max(0, found - len(known) + len(chunk)) if self._armed else len(chunk)

    async def _write_limited(self, way: Way, chunk: bytes) -> None:
        if way.limit_bytes is None or not self._armed or not chunk:
            await self._write(way, chunk)
            return
        room_bytes = way.limit_bytes - way.counted_bytes
        if len(chunk) < room_bytes:
            way.counted_bytes += len(chunk)
            await self._write(way, chunk)
            return
        reached, way.limit_bytes = way.limit_bytes, None
        if next(self._breaks, None) is not None:
            await self._write(way, chunk[:room_bytes])
            chunk = chunk[room_bytes:]
            if way is self.up and reached == self._fault.black_hole_after_bytes:
                self.flowing.clear()
            else:
                self.cut(self._fault.cut_by)
            self.struck = True
        await self._write(way, chunk)

    async def _write(self, way: Way, chunk: bytes) -> None:
        rate = self._fault.rate_bytes_per_s
        step = max(1, int(rate * _SLICE_S)) if rate else _CHUNK_BYTES
        for start in range(0, len(chunk), step):
            await self.flowing.wait()
            if self._broken:
                return
            piece = chunk[start : start + step]
            way.writer.write(piece)
            await way.writer.drain()
            way.forwarded_bytes += len(piece)
            if rate:
                await asyncio.sleep(len(piece) / rate)


class FaultProxy:
    """Listens on a loopback port while its `with` block runs; usable from any thread.

    Attributes:
        target: host and port of the server; a new value holds for the connections that follow.
        port: where it listens.
        connections: every connection so far, in the order of arrival.
    """

    def __init__(self, host: str, port: int, plan: Plan | None = None) -> None:
        self.target = (host, port)
        self.connections: list[Connection] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._adopt(plan or Plan())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._thread.start()
        self._server = self._wait_for(asyncio.start_server(self._accept, sock=self._listener))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait_for(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def plan(self) -> Plan:
        """What happens to connections accepted from now on; setting it counts ordinals and breaks afresh."""
        return self._plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        async def on_loop() -> None:
            self._adopt(plan)

        self._wait_for(on_loop())

    @property
    def count(self) -> int:
        """How many connections were accepted, in all."""
        return len(self.connections)

    @property
    def bytes_up(self) -> int:
        """How many bytes were handed to the server, in all."""
        return sum(connection.up.forwarded_bytes for connection in self.connections)

    @property
    def bytes_from_clients(self) -> int:
        """How many bytes clients have sent, in all; some of them may never be handed on."""
        return sum(connection.up.received_bytes for connection in self.connections)

    def cut_all(self, by: Literal["rst", "fin"] = "rst") -> None:
        """Break every connection that is open now."""
        self._each(lambda connection: connection.cut(by))

    def black_hole_all(self) -> None:
        """Let nothing move on the connections that are open now, without telling anyone."""
        self._each(lambda connection: connection.flowing.clear())

    def restore_all(self) -> None:
        """Let black-holed connections go on from where they stopped."""
        self._each(lambda connection: connection.flowing.set())

    def _adopt(self, plan: Plan) -> None:
        self._plan = plan
        self._faults = plan.faults()
        self._breaks = plan.breaks()

    def _each(self, act: Callable[[Connection], None]) -> None:
        async def on_loop() -> None:
            for connection in self.connections:
                act(connection)

        self._wait_for(on_loop())

    def _wait_for(self, work: Coroutine[object, object, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault, breaks = next(self._faults), self._breaks
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        for end in (writer, server_writer):
            end.transport.set_write_buffer_limits(0)  # drained means: the kernel has it
        connection = Connection(fault, Way(reader, server_writer), Way(server_reader, writer), breaks)
        self.connections.append(connection)
        await connection.run()

    async def _close(self) -> None:
        self._server.close()
        for connection in self.connections:
            connection.cut("rst")
        await asyncio.wait_for(asyncio.gather(*self._tasks), _CLOSING_S)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


def _end(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # closed already
        writer.write_eof()


def main() -> None:
    """Run the proxy until SIGINT or SIGTERM: one JSON line when it listens, one with the counts at the end."""
    parser = argparse.ArgumentParser(description="Break TCP connections as planned.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--plan", type=Plan.from_json, default=Plan(), metavar="JSON")
    arguments = parser.parse_args()
    host, _, port = arguments.target.rpartition(":")
    # Blocked before the loop's thread starts, which inherits the mask: only sigwait gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with FaultProxy(host, int(port), arguments.plan) as proxy:
        sys.stdout.write(json.dumps({"listening": f"127.0.0.1:{proxy.port}"}) + "\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    bytes_up = [connection.up.forwarded_bytes for connection in proxy.connections]
    sys.stdout.write(json.dumps({"count": proxy.count, "bytes_up": bytes_up}) + "\n")


if __name__ == "__main__":
    main()

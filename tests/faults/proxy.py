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
import json
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from tests.faults.connection import CommonRate, Connection, Way, reset
from tests.faults.plan import Plan
from tests.faults.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

_RECEIVE_BUFFER_BYTES = 128 * 1024  # small, so that a client soon feels what happens behind the proxy
_CLOSING_S = 10.0  # far more than loopback needs; a proxy that hangs must not hang its test

_T = TypeVar("_T")


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
        self._replays: list[asyncio.Task[None]] = []
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

    def cut_all(self, by: Literal["rst", "fin"] = "rst", which: Iterable[Connection] | None = None) -> None:
        """Break every connection that is open now, or those of `which` that still are."""
        self._each(lambda connection: connection.cut(by), which)

    def black_hole_all(self, way: Literal["both", "up", "down"] = "both") -> None:
        """Let nothing move on the connections that are open now, both ways or one, without telling anyone."""
        self._each(lambda connection: connection.black_hole(way))

    def restore_all(self) -> None:
        """Let black-holed connections go on from where they stopped."""
        self._each(lambda connection: connection.restore())

    def _adopt(self, plan: Plan) -> None:
        self._plan = plan
        self._faults = plan.faults()
        self._breaks = plan.breaks()
        rate = plan.common_rate_bytes_per_s
        self._common = None if rate is None else CommonRate(rate)

    def _each(self, act: Callable[[Connection], None], which: Iterable[Connection] | None = None) -> None:
        async def on_loop() -> None:
            for connection in self.connections if which is None else which:
                if not connection.ended:
                    act(connection)

        self._wait_for(on_loop())

    def _wait_for(self, work: Coroutine[object, object, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault, breaks, common = next(self._faults), self._breaks, self._common
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            reset(writer)
            return
        for end in (writer, server_writer):
            end.transport.set_write_buffer_limits(0)  # drained means: the kernel has it
        replay = None if fault.replay_after_s is None else Replay(self.target, fault.replay_after_s)
        if replay is not None:
            self._replays.append(asyncio.create_task(replay.run()))
        connection = Connection(fault, Way(reader, server_writer), Way(server_reader, writer), breaks, replay, common)
        self.connections.append(connection)
        await connection.run()

    async def _close(self) -> None:
        self._server.close()
        for connection in self.connections:
            connection.cut("rst")
        for replay in self._replays:
            replay.cancel()
        await asyncio.wait_for(asyncio.gather(*self._tasks), _CLOSING_S)
        await asyncio.gather(*self._replays, return_exceptions=True)


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

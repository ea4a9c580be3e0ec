"""Connections that are made before there is anything to send over them."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from engine.runtime import ahead as module
from engine.runtime.ahead import Ahead
from engine.runtime.connecting import connected
from engine.runtime.sockets import Broken, Sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio
HERE = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that says nothing."""
    with socket.create_server((HERE, 0)) as listener:
        listener.settimeout(5)
        yield listener


def port_of(listener: socket.socket) -> int:
    """Where it listens."""
    port: int = listener.getsockname()[1]
    return port


async def test_the_next_connection_is_the_one_that_is_there(listener: socket.socket) -> None:
    """Nothing is connected twice, and the one after that is a new one."""
    ahead = Ahead(connected)
    await ahead.make(HERE, port_of(listener), 1)
    first, _ = listener.accept()
    stream = await Sockets(ahead).connect(HERE, port_of(listener), 5)
    await stream.write(b"hello")
    assert first.recv(5) == b"hello"
    another = await Sockets(ahead).connect(HERE, port_of(listener), 5)
    second, _ = listener.accept()
    for one in (stream, another):
        one.close()
    assert (first.recv(1), second.recv(1)) == (b"", b"")
    first.close()
    second.close()


async def test_who_comes_while_it_is_being_made_waits_for_it() -> None:
    """On a long way it is there sooner than another one would be."""
    made, go = anyio.Event(), anyio.Event()
    ours, theirs = socket.socketpair()
    took: list[socket.socket | None] = []

    async def connect(_host: str, _port: int) -> socket.socket:
        made.set()
        await go.wait()
        return ours

    async def take() -> None:
        took.append(await ahead.take(HERE, 1))

    ahead = Ahead(connect)
    with ours, theirs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ahead.make, HERE, 1, 1)
            await made.wait()
            tasks.start_soon(take)
            await anyio.lowlevel.checkpoint()
            assert not took
            go.set()
        assert took == [ours]


async def test_what_nobody_waits_for_any_more_is_closed(listener: socket.socket) -> None:
    """Also where it stands only afterwards."""
    go = anyio.Event()

    async def connect(host: str, port: int) -> socket.socket:
        await go.wait()
        return await connected(host, port)

    ahead = Ahead(connect)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ahead.make, HERE, port_of(listener), 1)
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(0.01):
            await ahead.take(HERE, port_of(listener))
        go.set()
    there, _ = listener.accept()
    with there:
        assert there.recv(1) == b""


async def test_a_connection_that_the_server_has_closed_is_not_handed_out(listener: socket.socket) -> None:
    """A request over it could only fail."""
    ahead = Ahead(connected)
    await ahead.make(HERE, port_of(listener), 1)
    there, _ = listener.accept()
    there.close()
    assert await ahead.take(HERE, port_of(listener)) is None


async def test_an_old_connection_is_not_handed_out(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be about to close it."""
    ahead = Ahead(connected)
    await ahead.make(HERE, port_of(listener), 1)
    monkeypatch.setattr(module, "KEPT_S", 0.0)
    assert await ahead.take(HERE, port_of(listener)) is None
    there, _ = listener.accept()
    with there:
        assert there.recv(1) == b""


async def test_what_fails_ahead_is_tried_again_by_who_needs_it(listener: socket.socket) -> None:
    """And is not told before."""
    attempts: list[int] = []

    async def connect(_host: str, port: int) -> socket.socket:
        attempts.append(port)
        raise ConnectionRefusedError

    ahead = Ahead(connect)
    await ahead.make(HERE, port_of(listener), 2)
    assert len(attempts) == 2
    stream = await Sockets(ahead).connect(HERE, port_of(listener), 5)
    stream.close()
    listener.close()
    with pytest.raises(Broken):
        await Sockets(ahead).connect(HERE, attempts[0], 5)


async def test_no_door_is_reached_for_twice(listener: socket.socket) -> None:
    """A folder of a thousand recordings needs no thousand spare connections."""
    ahead = Ahead(connected)
    for _ in range(3):
        await ahead.make(HERE, port_of(listener), 2)
    ahead.close()
    listener.settimeout(0.05)
    with contextlib.ExitStack() as open_ones:
        for _ in range(2):
            there, _ = listener.accept()
            assert open_ones.enter_context(there).recv(1) == b""
        with pytest.raises(TimeoutError):
            listener.accept()

"""Connections begun while the program still loads what will use them."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.runtime import early
from engine.runtime.sockets import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio
HERE = "127.0.0.1"


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A server that says nothing, and an environment without proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server((HERE, 0)) as listener:
        listener.settimeout(5)
        yield listener


def port_of(listener: socket.socket) -> int:
    """Where it listens."""
    port: int = listener.getsockname()[1]
    return port


def met(listener: socket.socket) -> object:
    """Where the next connection comes from."""
    peer, address = listener.accept()
    peer.close()
    return address


def is_quiet(listener: socket.socket) -> bool:
    """Whether nobody else connects."""
    listener.setblocking(False)  # noqa: FBT003 - the call's own form
    with pytest.raises(BlockingIOError):
        listener.accept()
    return True


async def test_what_was_begun_is_what_is_used(listener: socket.socket) -> None:
    """Two were begun; the two that are asked for are they, and a third is another."""
    early.begin(f"http://{HERE}:{port_of(listener)}/v1", 2)
    begun = {met(listener) for _ in range(2)}
    used = [await connected(HERE, port_of(listener)) for _ in range(2)]
    assert {one.getsockname() for one in used} == begun
    assert is_quiet(listener)
    used.append(await connected(HERE, port_of(listener)))
    for one in used:
        one.close()


async def test_a_name_is_looked_up_meanwhile(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver may take its time: nobody waits for it."""
    look_up = socket.getaddrinfo

    def slowly(host: str, port: int, **options: int) -> object:
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror
        time.sleep(0.2)
        return look_up(HERE, port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    early.begin(f"https://recordings.example:{port_of(listener)}/", 1)
    assert early.take("recordings.example", port_of(listener)) is None
    begun = await anyio.to_thread.run_sync(met, listener)
    used = await connected("recordings.example", port_of(listener))
    assert used.getsockname() == begun
    used.close()


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "http:///", "http://[::1/"])
async def test_an_address_that_is_none_begins_nothing(listener: socket.socket, url: str) -> None:
    """It is told of when it is used."""
    early.begin(url, 2)
    assert is_quiet(listener)


async def test_nobody_goes_around_a_proxy(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names one, the server may not be for us to reach."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    early.begin(f"http://{HERE}:{port_of(listener)}/", 2)
    assert is_quiet(listener)


async def test_one_that_was_refused_is_tried_again(listener: socket.socket) -> None:
    """A server that starts a moment later is met."""
    port = port_of(listener)
    listener.close()
    early.begin(f"http://{HERE}:{port}/", 1)
    with socket.create_server((HERE, port)) as another:
        used = await connected(HERE, port)
        assert used.getsockname() == met(another)
        used.close()


async def test_one_that_hangs_keeps_nobody_from_another_address(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a moment the host's addresses are tried as ever."""
    with socket.create_server((HERE, 0), backlog=0) as full:
        hanging = []
        for _ in range(8):  # what its queue has no room for is not answered
            hanging.append(socket.socket())
            hanging[-1].setblocking(False)  # noqa: FBT003 - the call's own form
            assert hanging[-1].connect_ex(full.getsockname()) == errno.EINPROGRESS
        early.begin(f"http://{HERE}:{port_of(full)}/", 1)

        async def found(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HERE, port_of(listener)))]

        monkeypatch.setattr(anyio, "getaddrinfo", found)
        with anyio.fail_after(5):
            used = await connected(HERE, port_of(full))
        assert used.getpeername() == (HERE, port_of(listener))
        for one in (used, *hanging):
            one.close()

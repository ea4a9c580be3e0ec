"""Our own sockets beneath httpx: bytes whole and in order, over whatever address answers."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.runtime.sockets import Broken, Late, Sockets
from tests.faults.tls import HERE, Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
BODY = hashlib.shake_128(b"a body").digest(20 << 20)  # more than any socket's buffers take at once


class Digester:
    """Reads a connection until it has a body's worth, says its digest, and stays."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.listener = socket.create_server((HERE, 0))
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def _serve(self) -> None:
        try:
            line, _ = self.listener.accept()
        except OSError:  # the test was over before it was this thread's turn
            return
        if self._tls is not None:
            line = self._tls.wrap_socket(line, server_side=True)
        digest, left = hashlib.sha256(), len(BODY)
        with line:
            while left and (piece := line.recv(left)):
                digest.update(piece)
                left -= len(piece)
            if not left:
                line.sendall(digest.digest())
                self.ended.wait(10)


@pytest.fixture
def digester() -> Iterator[Digester]:
    server = Digester()
    yield server
    server.ended.set()
    server.listener.close()


async def test_a_body_arrives_whole(digester: Digester) -> None:
    """What the kernel does not take at once goes later, in order; an answer is read when it comes."""
    connection = await Sockets().connect(HERE, digester.port, 5)
    await connection.write(BODY)
    assert await connection.read(100, 5) == hashlib.sha256(BODY).digest()
    connection.close()


async def test_a_body_arrives_whole_over_tls(tmp_path: Path) -> None:
    """The same over TLS, while the raw socket can still be looked at by who watches the connection."""
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.certificate())
    digester = Digester(server)
    connection = await Sockets().connect(HERE, digester.port, 5)
    watched = connection.raw
    await connection.secure(ssl.create_default_context(cafile=authority.file), HERE, 5)
    await connection.write(BODY)
    assert await connection.read(100, 5) == hashlib.sha256(BODY).digest()
    assert watched.getpeername() == (HERE, digester.port)
    assert connection.secured is not None
    assert connection.secured.version() == "TLSv1.3"
    connection.close()
    assert watched.fileno() < 0
    digester.ended.set()
    digester.listener.close()


async def test_a_second_connection_goes_on_with_the_first_one_s_session(tmp_path: Path) -> None:
    """Its handshake has no certificates; a server that has forgotten the session is met as for the first time."""
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=authority.file)
    sockets, resumed = Sockets(), []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    another = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for tls in (server, another):
        tls.load_cert_chain(authority.certificate())
    for tls in (server, server, another):
        digester = Digester(tls)
        connection = await sockets.connect(HERE, digester.port, 5)
        await connection.secure(trust, HERE, 5)
        await connection.write(BODY)
        assert await connection.read(100, 5) == hashlib.sha256(BODY).digest()
        assert connection.secured is not None
        resumed.append(connection.secured.session_reused)
        connection.close()
        digester.ended.set()
        digester.listener.close()
    assert resumed == [False, True, False]


async def test_an_idle_connection_that_ended_can_be_told(digester: Digester) -> None:
    """Who sends on a connection that was idle asks first."""
    connection = await Sockets().connect(HERE, digester.port, 5)
    assert not connection.has_something_to_say
    await connection.write(BODY)
    await connection.read(100, 5)
    digester.ended.set()
    assert await connection.read(100, 5) == b""
    assert connection.has_something_to_say
    connection.close()


async def test_the_address_that_answers_is_taken(digester: Digester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's first address may refuse, and another not exist: the one that answers carries the bytes."""
    dead = socket.create_server((HERE, 0))
    port = dead.getsockname()[1]
    dead.close()

    async def found(*_: object, **__: object) -> list[tuple[object, ...]]:
        addresses = ((HERE, port), (HERE, digester.port))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(anyio, "getaddrinfo", found)
    connection = await Sockets().connect("recordings.example", 1, 5)
    assert connection.raw.getpeername() == (HERE, digester.port)
    connection.close()


async def test_a_host_that_refuses_is_an_error_with_the_systems_own_beneath() -> None:
    """Who decides what to do next needs to know that somebody was there."""
    free = socket.create_server((HERE, 0))
    port = free.getsockname()[1]
    free.close()
    with pytest.raises(Broken) as caught:
        await Sockets().connect(HERE, port, 5)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_silent_peer_is_left_in_time(digester: Digester) -> None:
    """Reading and writing end when their time is over."""
    connection = await Sockets().connect(HERE, digester.port, 5)
    with pytest.raises(Late):
        await connection.read(100, 0.01)
    connection.close()
    with pytest.raises(Broken):
        await connection.read(100, 5)

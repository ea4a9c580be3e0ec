from __future__ import annotations

import contextlib
import os
import random
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.faults.proxy import FaultProxy
from tests.interop.clients import UPLOAD_BYTES
from tests.interop.programs import NpmPeers, PythonPeers, Service
from tests.interop.strangers import Nginx, StrangersServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.servers import Server

KEY = "a-key-for-strangers"


def required(variable: str, what: str) -> str:
    """The value of a variable that says where peers are; without it a test is skipped, and fails in CI."""
    value = os.environ.get(variable)
    if value:
        return value
    reason = f'{what} not found: eval "$(.ci/peers build/peers)" installs it and sets {variable}'
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> NpmPeers:
    """The peers for Node.js."""
    folder = Path(required("SPEECHSTREAM_NPM", "a folder with tus-js-client and @tus/server"))
    return NpmPeers.in_folder(folder, tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="session")
def python() -> PythonPeers:
    """The peers for Python."""
    return PythonPeers(required("SPEECHSTREAM_PEERS_PYTHON", "a Python with the peers of PyPI"))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our service, one for all tests: uploads of different tests must not disturb each other either."""
    with Service(tmp_path_factory.mktemp("service"), KEY) as service:
        yield service


@pytest.fixture
def proxy(service: Service) -> Iterator[FaultProxy]:
    """A way to our service that can be broken."""
    with FaultProxy("127.0.0.1", service.port) as proxy:
        yield proxy


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file whose every part differs from every other, so that no misplaced byte goes unseen."""
    path = tmp_path / "recording.bin"
    path.write_bytes(random.Random(1).randbytes(UPLOAD_BYTES))
    return path


@dataclass(slots=True)
class Way:
    """A link that can be broken, to a strangers' server that can be killed.

    Attributes:
        line: what the client connects to.
        server: what is at its end, perhaps behind an nginx.
        behind: the link between nginx and the server, where there is an nginx.
        dead_for_s: after what time the server hears of the end of lost connections; None is never.
    """

    line: FaultProxy
    server: StrangersServer
    behind: FaultProxy | None = None
    dead_for_s: float | None = None

    @property
    def creation_url(self) -> str:
        """The server's creation URL by this way."""
        return str(self.server.endpoint.copy_with(port=self.line.port))

    def kill_server(self) -> None:
        """SIGKILL; it comes back over the same folder, on another port that the way leads to."""
        self.server.kill()
        self.server.start()
        (self.behind or self.line).target = ("127.0.0.1", self.server.port)

    def lose_connections(self) -> None:
        """Let the connections of now stand still; the server hears of their end late or never."""
        self.line.black_hole_all()
        if self.dead_for_s is not None:
            timer = threading.Timer(self.dead_for_s, self.line.restore_all)
            timer.daemon = True
            timer.start()

    def stored(self, upload_url: str) -> bytes:
        """What the server has under a URL that our client was told by this way."""
        assert httpx.URL(upload_url).port == self.line.port
        return self.server.content(upload_url)


@dataclass(slots=True)
class Strangers:
    """Starts each server when it is first needed; it serves all tests after that."""

    request: pytest.FixtureRequest
    folder: Path
    nginx: str
    started: dict[str, StrangersServer] = field(default_factory=dict)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def running(self, server: Server) -> StrangersServer:
        """The server itself."""
        if server.id not in self.started:
            peers: NpmPeers | PythonPeers = self.request.getfixturevalue(
                "npm" if server.runtime == "node" else "python"
            )
            self.started[server.id] = self.stack.enter_context(
                StrangersServer(peers.command(*server.command), self.folder / server.id, server.finished)
            )
        return self.started[server.id]

    @contextlib.contextmanager
    def way_to(self, server: Server) -> Iterator[Way]:
        """A fresh way to a server."""
        end = self.running(server)
        with contextlib.ExitStack() as stack:
            if server.buffering is None:
                line = stack.enter_context(FaultProxy("127.0.0.1", end.port))
                yield Way(line, end, dead_for_s=server.dead_for_s)
                return
            behind = stack.enter_context(FaultProxy("127.0.0.1", end.port))
            folder = self.folder / f"nginx-{behind.port}-{uuid.uuid4().hex[:8]}"  # ports come again
            nginx = stack.enter_context(
                Nginx(self.nginx, folder, behind.port, buffering=server.buffering, body_max=server.body_max)
            )
            yield Way(stack.enter_context(FaultProxy("127.0.0.1", nginx.port)), end, behind)


@pytest.fixture(scope="session")
def strangers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strangers]:
    """The servers that nobody here wrote."""
    nginx = required("SPEECHSTREAM_NGINX", "nginx")
    with contextlib.ExitStack() as stack:
        yield Strangers(request, tmp_path_factory.mktemp("strangers"), nginx, stack=stack)

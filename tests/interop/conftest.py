from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.proxy import FaultProxy
from tests.interop.programs import NpmPeers, PythonPeers, Service, listening, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-for-strangers"
# Three lanes of a megabyte: enough to be cut in the middle, little enough for a busy machine.
RECORDING_BYTES = 3_000_001


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
def tuspy() -> PythonPeers:
    """The peers for Python."""
    return PythonPeers(required("SPEECHSTREAM_PEERS_PYTHON", "a Python with tuspy"))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our service, one for all tests: uploads of different tests must not disturb each other either."""
    with serving(tmp_path_factory.mktemp("service"), KEY) as service:
        yield service


@pytest.fixture
def proxy(service: Service) -> Iterator[FaultProxy]:
    """A way to our service that can be broken."""
    with FaultProxy("127.0.0.1", service.port) as proxy:
        yield proxy


@pytest.fixture
def tus_server(npm: NpmPeers, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The creation URL of a strangers' tus server, and the folder where it keeps uploads by their id."""
    folder = tmp_path / "tus-server"
    with listening(npm.command("tus-server.mjs", "127.0.0.1", "0", str(folder))) as endpoint:
        yield endpoint, folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file whose every part differs from every other, so that no misplaced byte goes unseen."""
    path = tmp_path / "recording.bin"
    path.write_bytes(random.Random(1).randbytes(RECORDING_BYTES))
    return path

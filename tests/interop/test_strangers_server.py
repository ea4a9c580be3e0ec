"""The tus server that nobody here wrote works in this harness, with clients that nobody here wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.interop.programs import NpmPeers, PythonPeers, run
from tests.interop.servers import SERVERS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Strangers

pytestmark = pytest.mark.interop


def test_tus_js_client_reaches_it(npm: NpmPeers, strangers: Strangers, recording: Path) -> None:
    """It keeps what tus-js-client sent, under the last segment of the upload's URL."""
    server = strangers.running(SERVERS[0])
    options = json.dumps({"chunkSize": 1_000_000})
    upload = run(npm.command("tus-js-upload.mjs", str(server.endpoint), str(recording), "no-key", options))

    assert server.content(upload["upload"]) == recording.read_bytes()


def test_tuspy_reaches_it(python: PythonPeers, strangers: Strangers, recording: Path) -> None:
    """It keeps what tuspy sent, under the last segment of the upload's URL."""
    server = strangers.running(SERVERS[0])
    command = python.command("tuspy_upload.py", str(server.endpoint), str(recording), "no-key", "--filename", "a.bin")

    assert server.content(run(command)["upload"]) == recording.read_bytes()

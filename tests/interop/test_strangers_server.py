"""The tus server that nobody here wrote works in this harness, with clients that nobody here wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.interop.programs import NpmPeers, PythonPeers, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.interop


def test_tus_js_client_reaches_it(npm: NpmPeers, tus_server: tuple[str, Path], recording: Path) -> None:
    """It keeps what tus-js-client sent, under the last segment of the upload's URL."""
    endpoint, folder = tus_server
    upload = run(
        npm.command("tus-js-upload.mjs", endpoint, str(recording), "no-key", json.dumps({"chunkSize": 1_000_000}))
    )

    assert (folder / upload["upload"].rpartition("/")[2]).read_bytes() == recording.read_bytes()


def test_tuspy_reaches_it(tuspy: PythonPeers, tus_server: tuple[str, Path], recording: Path) -> None:
    """It keeps what tuspy sent, under the last segment of the upload's URL."""
    endpoint, folder = tus_server
    upload = run(tuspy.command("tuspy_upload.py", endpoint, str(recording), "no-key", "--filename", "a.bin"))

    assert (folder / upload["upload"].rpartition("/")[2]).read_bytes() == recording.read_bytes()

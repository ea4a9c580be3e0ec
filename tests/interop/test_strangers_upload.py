"""Clients that nobody here wrote upload to our service, over good links and bad ones."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.faults.plan import Fault, Plan
from tests.interop.programs import PATIENCE_S, NpmPeers, PythonPeers, Service, run, without_proxies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.faults.proxy import FaultProxy

pytestmark = pytest.mark.interop

CHUNK_BYTES = 256 * 1024
SLOW = Plan(otherwise=Fault(rate_bytes_per_s=1_000_000))


def creation_url(proxy: FaultProxy) -> str:
    return f"http://127.0.0.1:{proxy.port}/v1/uploads"


def stop_in_the_middle(command: Sequence[str], proxy: FaultProxy, how: signal.Signals) -> None:
    """Start a client over a slow link and end it when a third of the recording has passed."""
    proxy.plan = SLOW
    deadline = time.monotonic() + PATIENCE_S
    with subprocess.Popen(command, env=without_proxies()) as client:
        while proxy.bytes_up < 1_000_000 and client.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        client.send_signal(how)
    assert client.returncode == (143 if how is signal.SIGTERM else -how)
    proxy.plan = Plan()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="plain"),
        pytest.param(["--sha1"], id="sha1"),
        pytest.param(["--filename", "Gespräch, Teil 1.mp4"], id="metadata"),
        pytest.param(["--chunk", "10000000"], id="one-chunk"),
    ],
)
def test_tuspy_uploads(tuspy: PythonPeers, service: Service, recording: Path, options: list[str]) -> None:
    """What tuspy sends is what arrives: without metadata (an empty header), with it, and with checksums."""
    upload = run(tuspy.command("tuspy_upload.py", service.creation_url, str(recording), service.key, *options))

    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="plain"),
        pytest.param({"chunkSize": CHUNK_BYTES}, id="chunks"),
        pytest.param({"parallelUploads": 3}, id="parallel"),
        pytest.param({"uploadDataDuringCreation": True}, id="creation-with-upload"),
        pytest.param({"uploadLengthDeferred": True, "chunkSize": CHUNK_BYTES}, id="length-deferred"),
        pytest.param({"overridePatchMethod": True}, id="method-override"),
    ],
)
def test_tus_js_client_uploads(npm: NpmPeers, service: Service, recording: Path, options: dict[str, object]) -> None:
    """What tus-js-client sends is what arrives, by each of the protocol's extensions it can use."""
    given = json.dumps(options)
    upload = run(npm.command("tus-js-upload.mjs", service.creation_url, str(recording), service.key, given))

    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["aborted", "killed"])
@pytest.mark.parametrize("parallel", [1, 3])
def test_tus_js_client_resumes(
    npm: NpmPeers,
    service: Service,
    proxy: FaultProxy,
    recording: Path,
    tmp_path: Path,
    how: signal.Signals,
    parallel: int,
) -> None:
    """A tus-js-client that was stopped goes on where it was when it is run again."""
    arguments = [creation_url(proxy), str(recording), service.key]
    options = json.dumps({"parallelUploads": parallel})
    command = npm.command("tus-js-upload.mjs", *arguments, options, str(tmp_path / "urls.json"))

    stop_in_the_middle(command, proxy, how)
    sent_before = proxy.bytes_up
    upload = run(command)

    assert proxy.bytes_up - sent_before < 2_700_000  # what was in flight goes again, what arrived does not
    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()


def test_tuspy_resumes(
    tuspy: PythonPeers, service: Service, proxy: FaultProxy, recording: Path, tmp_path: Path
) -> None:
    """A tuspy that was killed goes on where it was when it is run again."""
    urls = ["--url-storage", str(tmp_path / "urls.json")]
    command = tuspy.command("tuspy_upload.py", creation_url(proxy), str(recording), service.key, *urls)

    stop_in_the_middle(command, proxy, signal.SIGKILL)
    sent_before = proxy.bytes_up
    upload = run(command)

    assert proxy.bytes_up - sent_before < 2_700_000  # what was in flight goes again, what arrived does not
    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()


@pytest.mark.parametrize(
    ("options", "cut_after"), [({}, 2_000_000), ({"chunkSize": 800_000}, 2_000_000), ({"parallelUploads": 3}, 700_000)]
)
def test_tus_js_client_survives_a_cut(
    npm: NpmPeers,
    service: Service,
    proxy: FaultProxy,
    recording: Path,
    options: dict[str, object],
    cut_after: int,
) -> None:
    """After a connection broke, tus-js-client asks where it stands, is told the truth, and goes on from there."""
    proxy.plan = Plan(otherwise=Fault(cut_up_after_bytes=cut_after, armed_by="PATCH "), at_most=1)
    arguments = [creation_url(proxy), str(recording), service.key, json.dumps(options)]
    upload = run(npm.command("tus-js-upload.mjs", *arguments))

    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()
    assert any(connection.struck for connection in proxy.connections)
    assert proxy.bytes_up < recording.stat().st_size + cut_after


@pytest.mark.parametrize("options", [{}, {"chunkSize": CHUNK_BYTES}, {"parallelUploads": 3}], ids=str)
def test_tus_js_client_survives_a_lost_answer(
    npm: NpmPeers, service: Service, proxy: FaultProxy, recording: Path, options: dict[str, object]
) -> None:
    """When only the answer was lost, tus-js-client learns that the bytes are there and sends none of them again."""
    proxy.plan = Plan(otherwise=Fault(cut_down_after_bytes=0, armed_by="PATCH "), at_most=1)
    arguments = [creation_url(proxy), str(recording), service.key, json.dumps(options)]
    upload = run(npm.command("tus-js-upload.mjs", *arguments))

    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()
    assert any(connection.struck for connection in proxy.connections)
    assert proxy.bytes_up < recording.stat().st_size + 50_000  # requests and their headers


@pytest.mark.parametrize("sha1", [[], ["--sha1"]], ids=["plain", "sha1"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(cut_up_after_bytes=700_000, armed_by="PATCH "), id="cut"),
        pytest.param(Fault(cut_down_after_bytes=0, armed_by="PATCH "), id="lost-answer"),
    ],
)
def test_tuspy_survives_a_broken_link(
    tuspy: PythonPeers, service: Service, proxy: FaultProxy, recording: Path, fault: Fault, sha1: list[str]
) -> None:
    """After a connection broke, tuspy goes on; a chunk with a checksum goes again as a whole, or not at all."""
    proxy.plan = Plan(otherwise=fault, at_most=1)
    arguments = [creation_url(proxy), str(recording), service.key, *sha1]
    upload = run(tuspy.command("tuspy_upload.py", *arguments))

    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()
    assert any(connection.struck for connection in proxy.connections)
    assert proxy.bytes_up < recording.stat().st_size + 1_050_000  # one chunk again, and no other


def test_a_wrong_key_is_refused_before_any_byte(
    npm: NpmPeers, service: Service, proxy: FaultProxy, recording: Path
) -> None:
    """A client with a wrong key is told so at once and sends none of the recording."""
    command = npm.command("tus-js-upload.mjs", creation_url(proxy), str(recording), "another-key")
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 1
    assert "response code: 401" in done.stderr
    assert proxy.bytes_up < 10_000


def test_the_digests_are_compared(tuspy: PythonPeers, service: Service, recording: Path) -> None:
    """An upload whose bytes are not the stated ones becomes no job, so the tests above can fail."""
    upload = run(tuspy.command("tuspy_upload.py", service.creation_url, str(recording), service.key))
    content = bytearray(recording.read_bytes())
    content[1_234_567] ^= 1

    answer = service.submit(upload["upload"], bytes(content))

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["bad_parts"] == [12]

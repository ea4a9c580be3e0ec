"""Clients that nobody here wrote upload to our service, over good links and bad ones."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from tests.faults.plan import Fault, Plan
from tests.interop.clients import CUT_AFTER_BYTES, UPLOAD_BYTES, Circumstance, Client, cells
from tests.interop.programs import PATIENCE_S, NpmPeers, PythonPeers, Service, run, told_by, without_proxies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.faults.proxy import FaultProxy

pytestmark = pytest.mark.interop

TALK_BYTES: Final = 50_000  # requests and their headers, of however many chunks
SLOW: Final = Plan(otherwise=Fault(rate_bytes_per_s=1_000_000))
ONCE: Final = {
    Circumstance.CUT: Fault(cut_up_after_bytes=CUT_AFTER_BYTES, armed_by="PATCH "),
    Circumstance.LOST_ANSWER: Fault(cut_down_after_bytes=0, armed_by="PATCH "),
}
STOPPED_BY: Final = {Circumstance.ABORTED: signal.SIGTERM, Circumstance.KILLED: signal.SIGKILL}


def when_a_third_passed(command: Sequence[str], proxy: FaultProxy, strike: Callable[[], None]) -> dict[str, str] | None:
    """Run a client over a slow link that is good again after the strike; gives what it said if it went on."""
    proxy.plan = SLOW
    until = time.monotonic() + PATIENCE_S
    with subprocess.Popen(command, env=without_proxies(), stdout=subprocess.PIPE, text=True) as client:
        while proxy.bytes_up < UPLOAD_BYTES // 3 and client.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        proxy.plan = Plan()
        strike()
        printed, _ = client.communicate(timeout=PATIENCE_S)
    return told_by(printed) if client.returncode == 0 else None


def kill_and_start(service: Service, proxy: FaultProxy) -> None:
    """Kill the service; it comes back over the same folder, and the same way leads there."""
    service.kill()
    service.start()
    proxy.target = ("127.0.0.1", service.port)


@pytest.fixture
def command_of(
    request: pytest.FixtureRequest, tmp_path: Path, recording: Path
) -> Callable[[Client, str, str], list[str]]:
    """The words that run a client."""

    def words(client: Client, url: str, key: str) -> list[str]:
        node = client.command[0].endswith(".mjs")
        peers: NpmPeers | PythonPeers = request.getfixturevalue("npm" if node else "python")
        given = {"{url}": url, "{file}": str(recording), "{key}": key, "{storage}": str(tmp_path / "urls.json")}
        return peers.command(*(given.get(word, word) for word in client.command))

    return words


@pytest.mark.parametrize(
    ("client", "circumstance"), [pytest.param(*cell, id=f"{cell[0].id}-{cell[1].name.lower()}") for cell in cells()]
)
def test_upload(
    service: Service,
    proxy: FaultProxy,
    recording: Path,
    command_of: Callable[[Client, str, str], list[str]],
    client: Client,
    circumstance: Circumstance,
) -> None:
    """What it sends is what arrives, and after a break it goes on from where our service tells it to."""
    url = f"http://127.0.0.1:{proxy.port}/v1/uploads{'/' if client.beside else ''}"
    command = command_of(client, url, service.key)
    told: dict[str, str] | None = None
    if circumstance is Circumstance.SERVICE_KILLED:
        told = when_a_third_passed(command, proxy, lambda: kill_and_start(service, proxy))
    elif circumstance in STOPPED_BY:
        stop(command, proxy, STOPPED_BY[circumstance])
    elif circumstance in ONCE:
        proxy.plan = Plan(otherwise=ONCE[circumstance], at_most=1)
    upload = told or run(command)

    assert service.received(upload["upload"], recording.read_bytes()) == recording.read_bytes()
    broken = circumstance is not Circumstance.CLEAN
    again_max_bytes = TALK_BYTES + (client.append_bytes if broken else 0)
    assert proxy.bytes_up - UPLOAD_BYTES <= again_max_bytes
    if circumstance in ONCE:
        assert any(connection.struck for connection in proxy.connections)


def stop(command: Sequence[str], proxy: FaultProxy, how: signal.Signals) -> None:
    """Begin an upload over a slow link and end its client when a third has passed."""
    proxy.plan = SLOW
    until = time.monotonic() + PATIENCE_S
    with subprocess.Popen(command, env=without_proxies()) as client:
        while proxy.bytes_up < UPLOAD_BYTES // 3 and client.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        client.send_signal(how)
    assert client.returncode == (143 if how is signal.SIGTERM else -how)
    proxy.plan = Plan()


def test_a_wrong_key_is_refused_before_any_byte(
    npm: NpmPeers, service: Service, proxy: FaultProxy, recording: Path
) -> None:
    """A client with a wrong key is told so at once and sends none of the recording."""
    url = f"http://127.0.0.1:{proxy.port}/v1/uploads"
    command = npm.command("tus-js-upload.mjs", url, str(recording), "another-key")
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 1
    assert "response code: 401" in done.stderr
    assert proxy.bytes_up < 10_000


def test_the_digests_are_compared(python: PythonPeers, service: Service, recording: Path) -> None:
    """An upload whose bytes are not the stated ones becomes no job, so the tests above can fail."""
    upload = run(python.command("tuspy_upload.py", f"{service.endpoint}/uploads", str(recording), service.key))
    content = bytearray(recording.read_bytes())
    content[1_234_567] ^= 1

    answer = service.submit(upload["upload"], bytes(content))

    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["bad_parts"] == [12]

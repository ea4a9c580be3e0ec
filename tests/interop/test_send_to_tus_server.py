"""`speechstream send` delivers to a tus server that nobody here wrote, whatever happens on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.faults.command import Command, environment
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

PATIENCE_S = 60.0


@pytest.fixture
def line(tus_server: tuple[str, Path]) -> Iterator[FaultProxy]:
    """A way to the strangers' server that counts."""
    url = httpx.URL(tus_server[0])
    with FaultProxy(url.host, url.port or 0) as proxy:
        yield proxy


@pytest.fixture
def creation_url(tus_server: tuple[str, Path], line: FaultProxy) -> str:
    """Where the strangers' server creates uploads, by that way."""
    return str(httpx.URL(tus_server[0]).copy_with(port=line.port))


def sending(recording: Path, creation_url: str) -> Command:
    state = recording.parent / "state"
    return Command(("send", str(recording), "--to", creation_url), environment(state, "http://127.0.0.1:9/v1"))


def send(recording: Path, creation_url: str) -> tuple[int, str]:
    with sending(recording, creation_url) as command:
        code, printed = command.finish()
        assert code == 0, command.complaints
    return code, printed.strip()


def delivered(tus_server: tuple[str, Path], url: str) -> bytes:
    return (tus_server[1] / url.rpartition("/")[2]).read_bytes()


def test_send(tus_server: tuple[str, Path], line: FaultProxy, creation_url: str, recording: Path) -> None:
    """The bytes arrive unchanged; the same command again prints the same URL and asks the server nothing."""
    code, url = send(recording, creation_url)
    sent_bytes = line.bytes_up

    assert code == 0
    assert delivered(tus_server, url) == recording.read_bytes()
    assert send(recording, creation_url) == (0, url)
    assert line.bytes_up == sent_bytes


def test_send_after_a_kill(tus_server: tuple[str, Path], line: FaultProxy, creation_url: str, recording: Path) -> None:
    """Killed half way, the same command goes on where the server stands, to one upload of the right bytes."""
    size_bytes = recording.stat().st_size
    line.plan = Plan(otherwise=Fault(rate_bytes_per_s=size_bytes))
    with sending(recording, creation_url) as command:
        until = time.monotonic() + PATIENCE_S
        while line.bytes_up < size_bytes // 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert command.kill() == -9
    code, url = send(recording, creation_url)
    sent_bytes = line.bytes_up

    assert code == 0
    assert delivered(tus_server, url) == recording.read_bytes()
    assert sent_bytes < size_bytes * 1.2
    assert send(recording, creation_url) == (0, url)
    assert line.bytes_up == sent_bytes

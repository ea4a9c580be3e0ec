"""A server that is no friend: what it answers may stop an upload, but gets no key, no memory and no terminal."""

from __future__ import annotations

import functools
import gzip
import os
import pty
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import PROGRAM, Command, environment
from tests.faults.scripted import TEXT, Asked, ScriptedService, reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "sk-nobody-may-ever-see-this-0123456789"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\x00\u202e"
PEAK_KIB_MAX = 140 << 10  # what a client may take however large the answer


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Something to upload."""
    path = tmp_path / "recording.bin"
    path.write_bytes(random.Random(1).randbytes(300_000))
    return path


def transcribe(recording: Path, *more: str) -> tuple[str, ...]:
    """The command for it, which gives up soon."""
    return ("transcribe", str(recording), "--recipe", "as-is", "--progress", "json", "--retry-for", "2s", *more)


class Thief(ScriptedService):
    """Another host, which notes every request that reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.caught: list[Asked] = []
        self.replying = self._note

    def _note(self, asked: Asked) -> bytes | None:
        self.caught.append(asked)
        return None


def elsewhere(thief: Thief, status: int, path: str) -> bytes:
    """An answer that sends the client to the thief."""
    host = thief.endpoint.removesuffix("/v1")
    return reply(status, {"Location": f"{host}{path}"}, content={"processing_id": "x"} if status == 201 else None)


@pytest.mark.long
@pytest.mark.parametrize(
    ("route", "status"),
    [
        ("OPTIONS /v1/uploads", 301),
        ("POST /v1/uploads", 302),
        ("PATCH /v1/uploads/{id}", 307),
        ("PATCH /v1/uploads/{id}", 308),
        ("POST /v1/upload", 303),
    ],
)
def test_a_redirect_to_another_host_gets_nothing(tmp_path: Path, recording: Path, status: int, route: str) -> None:
    """Neither key nor bytes follow it, and once it is gone the same command goes on to its one job."""
    state = tmp_path / "state"
    with ScriptedService() as service, Thief() as thief:
        service.replying = lambda asked: elsewhere(thief, status, asked.path) if asked.route == route else None
        with Command(transcribe(recording), environment(state, service.endpoint, KEY)) as command:
            command.finish()
        assert thief.caught == []
        service.replying = lambda _: None
        with Command(transcribe(recording), environment(state, service.endpoint, KEY)) as again:
            code, printed = again.finish()
    assert code == 0, again.complaints
    assert TEXT in printed
    assert list(service.jobs.values()) == [recording.read_bytes()]


@pytest.mark.long
def test_an_upload_at_another_host_gets_no_key(tmp_path: Path, recording: Path) -> None:
    """A Location elsewhere may be where a service keeps its uploads: the bytes may go there, the key may not."""
    with ScriptedService() as service, Thief() as thief:

        def answer(asked: Asked) -> bytes | None:
            return elsewhere(thief, 201, "/v1/uploads/taken") if asked.route == "POST /v1/uploads" else None

        service.replying = answer
        surroundings = environment(tmp_path / "state", service.endpoint, KEY)
        with Command(transcribe(recording), surroundings) as command:
            command.finish()
    assert thief.caught
    for asked in thief.caught:
        assert KEY not in str(asked.headers)
        assert KEY.encode() not in asked.body


def portal(asked: Asked) -> bytes:
    """A page for people, whatever is asked."""
    del asked
    return reply(200, {"Tus-Resumable": ""}, content="<html>Welcome to the hotel's network!</html>")


def test_a_captive_portal_decides_nothing(tmp_path: Path, recording: Path) -> None:
    """Its 200 to everything is no upload, no job and no transcript; behind it, the same command makes one job."""
    state = tmp_path / "state"
    with ScriptedService() as service:
        service.replying = portal
        with Command(transcribe(recording), environment(state, service.endpoint, KEY)) as command:
            code, printed = command.finish()
        assert (code, printed) == (75, "")
        assert service.jobs == {}
        service.replying = lambda _: None
        with Command(transcribe(recording), environment(state, service.endpoint, KEY)) as again:
            code, printed = again.finish()
    assert code == 0, again.complaints
    assert list(service.jobs.values()) == [recording.read_bytes()]


def refusing(asked: Asked) -> bytes | None:
    """A refusal that writes on terminals."""
    return reply(400, content={"message": f"no {ESCAPES} no"}) if asked.route == "POST /v1/uploads" else None


def failing(asked: Asked) -> bytes | None:
    """A job that fails with a message that does."""
    ended = {"status": "failed", "transcription": None, "message": f"bad {ESCAPES} bad"}
    return reply(200, content=ended) if asked.route == "GET /v1/status" else None


def hearing(asked: Asked) -> bytes | None:
    """A transcript that does."""
    ended = {"status": "completed", "transcription": f"heard {ESCAPES} heard", "message": None}
    return reply(200, content=ended) if asked.route == "GET /v1/status" else None


def naming(asked: Asked) -> bytes | None:
    """A job whose name does, and climbs."""
    return reply(200, content={"processing_id": f"../../{ESCAPES}"}) if asked.route == "POST /v1/upload" else None


@pytest.mark.parametrize("answer", [refusing, failing, hearing, naming])
def test_no_answer_writes_on_a_terminal(
    tmp_path: Path, recording: Path, answer: Callable[[Asked], bytes | None]
) -> None:
    """What a server says is shown as text: on a terminal no control character of its making arrives."""
    before = sorted(tmp_path.parent.iterdir())
    with ScriptedService() as service:
        service.replying = answer
        surroundings = environment(tmp_path / "state", service.endpoint, KEY) | {"TERM": "dumb"}
        ours, theirs = pty.openpty()
        words = ("transcribe", str(recording), "--recipe", "as-is", "--retry-for", "2s", "--progress", "plain", "-v")
        process = subprocess.Popen(
            [PROGRAM, *words], env=surroundings, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=tmp_path
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the terminal's way to say that nobody writes any more
            pass
        process.wait(60)
        os.close(ours)
        jobs = subprocess.run([PROGRAM, "jobs"], env=surroundings, capture_output=True, check=True).stdout
    text = shown.decode() + jobs.decode()
    assert text.strip()
    assert not [char for char in text if not char.isprintable() and char not in "\r\n"]
    assert "\r" not in text.replace("\r\n", "")
    assert sorted(tmp_path.parent.iterdir()) == before


@functools.cache  # packing takes seconds, which nobody should wait for who only collects tests
def bomb() -> bytes:
    """A small answer that would become a gigabyte, were it unpacked."""
    packed = gzip.compress(gzip.compress(bytes(1 << 30), 9), 9)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    return head.encode() + packed


FLOODS: dict[str, Callable[[], bytes]] = {
    "packed": bomb,
    "a body of 200 MB": lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n" + bytes(200_000_000),
    "a field of 50 MB": lambda: b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50_000_000 + b"\r\n\r\n",
    "a million fields": lambda: b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 1_000_000 + b"\r\n",
    "deep JSON": lambda: b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"[" * 10_000_000,
    "a number without end": lambda: (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000018\r\n\r\n" + b'{"processing_id":' + b"1" * 1_000_000 + b"}"
    ),
}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from proc(5)")
@pytest.mark.parametrize("flood", FLOODS)
def test_no_answer_fills_the_memory(tmp_path: Path, recording: Path, flood: str) -> None:
    """However much a server says, little of it is kept; it counts as no answer, and a real one ends the job as one."""
    state = tmp_path / "state"
    with ScriptedService() as service:
        service.replying = lambda asked: FLOODS[flood]() if asked.route == "POST /v1/upload" else None
        with Command(transcribe(recording), environment(state, service.endpoint, KEY)) as command:
            while not command.ended:
                command.sample()
                time.sleep(0.01)
            code, printed = command.finish()
        assert code in {2, 75}
        assert printed == ""
        assert "Traceback" not in "".join(command.complaints)
        assert command.peak_kib < PEAK_KIB_MAX
        service.replying = lambda _: None
        with Command(transcribe(recording), environment(state, service.endpoint, KEY)) as again:
            code, printed = again.finish()
    assert code == 0, again.complaints
    assert list(service.jobs.values()) == [recording.read_bytes()]

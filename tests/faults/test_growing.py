"""Recordings that are uploaded while they are being written, by the real command to the real service."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import PROGRAM, environment
from tests.faults.recording import sha256_of, write_wav
from tests.faults.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE_BYTES = 20 << 20
_PATIENCE_S = 60.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The real service, without a transcriber."""
    with Service(tmp_path / "service") as service:
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """What is said."""
    path = tmp_path / "recording.wav"
    write_wav(path, SIZE_BYTES, seed=5)
    return path


def command(service: Service | None, tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    """The command as a process; its standard input is a pipe. Without a service there is none where it looks."""
    port = 9 if service is None else service.port
    return subprocess.Popen(
        [PROGRAM, *words],
        env=environment(tmp_path / "state", f"http://127.0.0.1:{port}/v1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def until_held(service: Service, least_bytes: int) -> None:
    """Wait until so much is on the service's disk."""
    until = time.monotonic() + _PATIENCE_S
    while sum(path.stat().st_size for path in (service.data / "uploads").iterdir()) < least_bytes:
        assert time.monotonic() < until, "nothing arrives"
        time.sleep(0.02)


@pytest.mark.parametrize("lanes", ["1", "4"])
def test_a_pipe_arrives_while_it_is_being_written(
    service: Service, tmp_path: Path, recording: Path, lanes: str
) -> None:
    """The first half is at the service before the second half is said; one job of the right bytes."""
    content = recording.read_bytes()
    with command(service, tmp_path, "upload", "-", "--max-lanes", lanes, "--name", "talk.wav") as process:
        assert process.stdin is not None
        process.stdin.write(content[: SIZE_BYTES // 2])
        process.stdin.flush()
        until_held(service, SIZE_BYTES // 2 - (4 << 20))
        stdout, _ = process.communicate(content[SIZE_BYTES // 2 :], timeout=_PATIENCE_S)
    assert process.returncode == 0
    assert [stdout.decode().strip()] == service.jobs()
    assert [sha256_of(path) for path in service.recordings().values()] == [sha256_of(recording)]


def test_what_came_through_a_pipe_outlives_a_kill(service: Service, tmp_path: Path, recording: Path) -> None:
    """Killed with half of it said, that half is a recording: `resume` sends what is missing of it."""
    with command(service, tmp_path, "upload", "-") as process:
        assert process.stdin is not None
        process.stdin.write(recording.read_bytes()[: SIZE_BYTES // 2])
        process.stdin.flush()
        until_held(service, SIZE_BYTES // 2 - (4 << 20))
        process.kill()
    (spooled,) = (tmp_path / "state" / "jobs").glob("*/spool/input")
    came = spooled.read_bytes()
    with command(service, tmp_path, "jobs", "--json") as listing:
        stdout, _ = listing.communicate(timeout=_PATIENCE_S)
    assert b'"uploading"' in stdout
    with command(service, tmp_path, "resume", "--progress", "json") as process:
        until_made(service)
        process.terminate()
        _, stderr = process.communicate(timeout=_PATIENCE_S)
    assert b"the pipe broke off" in stderr
    assert recording.read_bytes().startswith(came)
    assert [path.read_bytes() for path in service.recordings().values()] == [came]


def until_made(service: Service) -> None:
    """Wait until the service has a job."""
    until = time.monotonic() + _PATIENCE_S
    while not service.jobs():
        assert time.monotonic() < until, "there is no job"
        time.sleep(0.05)


def test_a_pipe_is_kept_while_the_service_says_no(service: Service, tmp_path: Path, recording: Path) -> None:
    """A rejected key stops the upload at once and the recording never: all of it is there for the right key."""
    process = subprocess.Popen(
        [PROGRAM, "upload", "-"],
        env=environment(tmp_path / "state", f"http://127.0.0.1:{service.port}/v1", key="another key"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, stderr = process.communicate(recording.read_bytes(), timeout=_PATIENCE_S)
    assert process.returncode == 75, stderr
    with command(service, tmp_path, "resume") as process:
        until_made(service)
        process.terminate()
    assert [sha256_of(path) for path in service.recordings().values()] == [sha256_of(recording)]


def test_nothing_on_standard_input(service: Service, tmp_path: Path) -> None:
    """An empty pipe is no recording: exit 1, and nothing to resume."""
    with command(service, tmp_path, "upload", "-") as process:
        _, stderr = process.communicate(b"", timeout=_PATIENCE_S)
    assert process.returncode == 1
    assert b"Nothing came in" in stderr
    with command(service, tmp_path, "resume") as process:
        _, stderr = process.communicate(timeout=_PATIENCE_S)
    assert stderr == b"there is nothing to resume\n"


def test_a_growing_file_is_followed_to_its_end(service: Service, tmp_path: Path, recording: Path) -> None:
    """The recorder writes its length into the header when it stops: only the lane that holds it goes again."""
    content, growing = recording.read_bytes(), tmp_path / "growing.wav"
    growing.write_bytes(b"\0" * 44 + content[44 : SIZE_BYTES // 2])

    def record() -> None:
        until_held(service, SIZE_BYTES // 3)
        with growing.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(content[SIZE_BYTES // 2 :])
            file.seek(0)
            file.write(content[:44])

    recorder = threading.Thread(target=record)
    recorder.start()
    with command(service, tmp_path, "upload", "--follow", "--idle", "2s", str(growing)) as process:
        stdout, stderr = process.communicate(timeout=_PATIENCE_S)
    recorder.join()
    assert process.returncode == 0, stderr
    assert b"rewrote what it had written before; 8388608 bytes go again" in stderr
    assert [sha256_of(path) for path in service.recordings().values()] == [sha256_of(recording)]
    with command(service, tmp_path, "upload", "--follow", str(growing)) as process:
        again, _ = process.communicate(timeout=_PATIENCE_S)
    assert (process.returncode, again) == (0, stdout)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("upload", "-", "other.wav"), "must be the only one"),
        (("upload", "--follow", "one.wav", "two.wav"), "must be the only one"),
        (("upload", "one.wav", "--name", "x"), "standard input"),
        (("upload", "-", "--follow"), "needs no `--follow`"),
        (("transcribe", "-", "--recipe", "standard"), "as-is"),
        (("upload", "--follow", "missing.wav"), "cannot be followed"),
        (("upload", "--follow", "/dev/null"), "not a file that grows"),
    ],
)
def test_what_cannot_grow_is_said(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit 1 and one sentence; nothing is asked of a service, and nothing is stored."""
    with command(None, tmp_path, *words) as process:
        _, stderr = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 1
    assert said in stderr.decode()
    with command(None, tmp_path, "resume") as process:
        _, stderr = process.communicate(timeout=_PATIENCE_S)
    assert stderr == b"there is nothing to resume\n"

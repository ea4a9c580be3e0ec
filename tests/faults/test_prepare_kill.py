from __future__ import annotations

import os
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import preprocess
from engine.model import JobState
from engine.runtime.manifest import Manifest
from tests.faults.command import Command, environment
from tests.faults.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

SPOKEN = Path(__file__).parents[2] / "fixtures" / "spoken.wav"
ROUNDS = 2
TIMES_REAL_TIME = 10  # slow enough to be killed in the middle, on any machine
PATIENCE_S = 60.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The real service, without its transcriber."""
    with Service(tmp_path / "service") as service:
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Half a minute of speech."""
    path = tmp_path / "spoken.wav"
    with wave.open(str(SPOKEN)) as once, wave.open(str(path), "wb") as often:
        often.setparams(once.getparams())
        often.writeframes(once.readframes(once.getnframes()) * ROUNDS)
    return path


@pytest.fixture
def slow_ffmpeg(tmp_path: Path) -> Path:
    """An ffmpeg that takes its time to read what it encodes."""
    path = tmp_path / "slow-ffmpeg"
    real = preprocess.find_ffmpeg().path
    path.write_text(
        f'#!/bin/sh\ncase " $* " in\n*" -i "*) exec "{real}" -readrate {TIMES_REAL_TIME} "$@" ;;\n'
        f'*) exec "{real}" "$@" ;;\nesac\n'
    )
    path.chmod(0o700)
    return path


def encoders_of(recording: Path) -> list[list[str]]:
    """The command lines of all programs that have the recording as their input."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if f"file:{recording}" in line]


def kill_in_mid_encoding(command: Command) -> int:
    until = time.monotonic() + PATIENCE_S
    while not any(float(str(event["done_s"])) > 0 for event in command.of("prepared")):
        if time.monotonic() > until or command.ended:
            raise TimeoutError(f"it never came to encoding: {command.events} {command.complaints}")
        time.sleep(0.01)
    return command.kill()


def killed_and_resumed(command: str, recording: Path, state: Path, endpoint: str, ffmpeg: Path) -> tuple[int, str]:
    """What the second run of a command brings whose first one was killed while it encoded."""
    words = (command, str(recording), "--recipe", "standard", "--progress", "json")
    with Command(words, environment(state, endpoint) | {"SPEECHSTREAM_FFMPEG": str(ffmpeg)}) as first:
        assert kill_in_mid_encoding(first) == -9
    until = time.monotonic() + PATIENCE_S
    while encoders_of(recording) and time.monotonic() < until:
        time.sleep(0.01)
    assert encoders_of(recording) == []
    with Manifest(state) as manifest:
        assert [job.state for job in manifest.jobs()] == [JobState.PREPARING]
    with Command(words, environment(state, endpoint)) as second:
        return second.finish()


def undisturbed(command: str, recording: Path, state: Path, endpoint: str) -> Command:
    return Command((command, str(recording), "--recipe", "standard"), environment(state, endpoint))


def test_a_kill_while_encoding_changes_nothing(
    tmp_path: Path, service: Service, recording: Path, slow_ffmpeg: Path
) -> None:
    """Killed while it encodes, the command leaves no ffmpeg behind; run again, it sends the undisturbed bytes."""
    endpoint = f"http://127.0.0.1:{service.port}/v1"
    with undisturbed("upload", recording, tmp_path / "other-state", endpoint) as other:
        assert other.finish()[0] == 0
    code, printed = killed_and_resumed("upload", recording, tmp_path / "state", endpoint, slow_ffmpeg)

    one, another = service.recordings().values()
    assert code == 0
    assert printed.strip() in service.recordings()
    assert one.read_bytes() == another.read_bytes()
    assert encoders_of(recording) == []


@pytest.mark.skipif("SPEECHSTREAM_FULL" not in os.environ, reason="recognises speech twice; set SPEECHSTREAM_FULL=1")
def test_a_kill_while_encoding_changes_no_word(tmp_path: Path, recording: Path, slow_ffmpeg: Path) -> None:
    """The transcript of a recording whose encoding was killed is that of the undisturbed one."""
    with Service(tmp_path / "service", options=()) as service:
        endpoint = f"http://127.0.0.1:{service.port}/v1"
        with undisturbed("transcribe", recording, tmp_path / "other-state", endpoint) as other:
            code, text = killed_and_resumed("transcribe", recording, tmp_path / "state", endpoint, slow_ffmpeg)
            assert other.finish() == (code, text) == (0, text)

    assert len(text.split()) > 20

"""The command in surroundings that fail it: a terminal that closes, a name that is no text, a proxy of another kind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.faults.scripted import TEXT, Asked, ScriptedService, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.cli.conftest import Shell

CONTENT = random.Random(3).randbytes(100_000)
NAME_OF_STRAY_BYTES = os.fsdecode(b"talk\xff.mp4")


@pytest.fixture
def service(shell: Shell) -> Iterator[ScriptedService]:
    """A service that the shell's environment names, with a key for it."""
    with ScriptedService() as service:
        shell.environment["SPEECHSTREAM_ENDPOINT"] = service.endpoint
        shell.environment["SPEECHSTREAM_API_KEY"] = "sk-of-the-shell"
        yield service


def recorded(folder: Path, *names: str) -> list[Path]:
    """Recordings of these names, each with bytes of its own."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CONTENT + bytes([number]))
    return paths


def test_a_terminal_that_closes_does_not_end_what_nohup_began(
    shell: Shell, tmp_path: Path, service: ScriptedService
) -> None:
    """SIGHUP was ignored when the command began: it arrives in the middle of the upload and changes nothing."""
    (recording,) = recorded(tmp_path, "talk.mp4")
    started = threading.Event()
    processes: list[subprocess.Popen[str]] = []

    def hang_up(asked: Asked) -> None:
        assert started.wait(30)
        if asked.method == "PATCH":
            processes[0].send_signal(signal.SIGHUP)

    service.replying = hang_up
    with subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *shell.command("transcribe", recording, "--recipe", "as-is")],
        env=shell.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        processes.append(process)
        started.set()
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, f"{TEXT}\n"), stderr


@pytest.mark.parametrize("progress", ["bar", "json", "none"])
def test_an_upload_does_not_need_to_be_watched(
    shell: Shell, tmp_path: Path, service: ScriptedService, progress: str
) -> None:
    """Whoever read stderr has left: the recording still becomes a transcript, and that is success."""
    (recording,) = recorded(tmp_path, "talk.mp4")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            shell.command("transcribe", recording, "--recipe", "as-is", "--progress", progress, "-vv"),
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=writing,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stdout) == (0, f"{TEXT}\n")
    assert len(service.jobs) == 1


def test_an_upload_does_not_need_a_stderr(shell: Shell, tmp_path: Path, service: ScriptedService) -> None:
    """With `2>&-` there is nowhere to write to from the beginning: the transcript comes all the same."""
    (recording,) = recorded(tmp_path, "talk.mp4")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *shell.command("transcribe", recording, "--recipe", "as-is", "-vv")],
        env=shell.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{TEXT}\n")
    assert list(service.jobs.values()) == [recording.read_bytes()]


def test_a_proxy_of_a_kind_we_do_not_speak(shell: Shell, tmp_path: Path, service: ScriptedService) -> None:
    """The setting is named, its password is not, and nothing goes past the proxy."""
    recorded(tmp_path, "talk.mp4")
    shell.environment["ALL_PROXY"] = "socks5://me:hunter2hunter2@127.0.0.1:1080"
    done = shell.run("transcribe", "talk.mp4", "--recipe", "as-is", "--json", "--progress", "none")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout, error["error"]) == (1, "", "ConfigError")
    assert "ALL_PROXY" in error["hint"]
    assert "hunter2" not in done.stderr
    assert service.requests == []


def test_a_config_file_that_is_no_text(shell: Shell, tmp_path: Path) -> None:
    """A file of another encoding is told as a mistake in that file."""
    path = tmp_path / "my.toml"
    path.write_bytes(b'endpoint = "https://h\xe4user.example/v1"\n')
    shell.environment["SPEECHSTREAM_CONFIG"] = str(path)
    done = shell.run("jobs")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: The config file {path} is not TOML")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("jobs", "--frobnicate"), ("transcribe",), ("status", "a", "b"), ("transcribble",)])
def test_a_command_typed_wrong_by_a_program(shell: Shell, words: tuple[str, ...]) -> None:
    """A program that asked for JSON can read what is wrong with its words, too."""
    done = shell.run(*words, "--json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout) == (1, "")
    assert error["error"] == "UserError"
    assert error["message"]


def test_two_recordings_that_would_share_a_result(shell: Shell, tmp_path: Path, service: ScriptedService) -> None:
    """Found out before any work: nothing is sent, and nothing is written over."""
    recorded(tmp_path, "monday/talk.mp4", "tuesday/talk.mp4")
    (tmp_path / "out").mkdir()
    done = shell.run("transcribe", "monday/talk.mp4", "tuesday/talk.mp4", "--recipe", "as-is", "-o", "out", "--json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout, error["error"]) == (1, "", "OutputError")
    assert "monday/talk.mp4" in error["message"]
    assert "tuesday/talk.mp4" in error["message"]
    assert service.requests == []
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_that_cannot_be_written_stops_no_other(shell: Shell, tmp_path: Path, service: ScriptedService) -> None:
    """Something lies in the way of the first transcript: it is told which, and the others are written."""
    recorded(tmp_path, "one.mp4", "two.mp4", "three.mp4")
    (tmp_path / "out" / "one.txt").mkdir(parents=True)
    names = ("one.mp4", "two.mp4", "three.mp4")
    done = shell.run("transcribe", *names, "--recipe", "as-is", "-o", "out", "--progress", "none")
    assert done.returncode == 1
    assert "one.mp4" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_file()} == {"two.txt", "three.txt"}
    assert (tmp_path / "out" / "three.txt").read_text() == f"{TEXT}\n"
    assert len(service.jobs) == 3


def test_cancelling_needs_neither_key_nor_service(shell: Shell, tmp_path: Path, service: ScriptedService) -> None:
    """Both are gone: the job is cancelled all the same, with a warning about what may be left on the server."""
    recorded(tmp_path, "talk.mp4")
    service.replying = lambda asked: reply(401) if asked.method == "PATCH" else None
    assert shell.run("upload", "talk.mp4", "--recipe", "as-is").returncode == 75
    (job,) = map(json.loads, shell.run("jobs", "--json").stdout.splitlines())
    assert job["state"] == "uploading"
    del shell.environment["SPEECHSTREAM_API_KEY"]
    done = shell.run("cancel", job["job_id"])
    assert done.returncode == 0
    assert "the server's copy stays until it expires" in done.stderr
    assert f"job {job['job_id']} is cancelled" in done.stderr


def test_a_recording_whose_name_is_no_text(shell: Shell, tmp_path: Path, service: ScriptedService) -> None:
    """Every line of JSON about it can be read, and gives the name back byte for byte."""
    (recording,) = recorded(tmp_path, NAME_OF_STRAY_BYTES)
    done = shell.run("transcribe", recording, "--recipe", "as-is", "--json", "--progress", "json")
    assert (done.returncode, len(service.jobs)) == (0, 1)
    lines = [done.stdout, *done.stderr.splitlines(), shell.run("jobs", "--json").stdout]
    job = json.loads(lines[-1])
    documents = [*map(json.loads, lines), json.loads(shell.run("show", job["job_id"], "--json").stdout)]
    sources = [os.fsencode(document["source"]) for document in documents if "source" in document]
    assert sources == [bytes(recording)] * 4

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import Command, environment
from tests.faults.scripted import TEXT, Asked, Moment, ScriptedService, Strike, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-nobody-may-ever-see-this-0123456789"
ROOT = Path(__file__).parents[2]
# Runs the command with a bug in it, whose message holds all that must not be seen.
WITH_A_BUG = """
import os
import engine.stages.submission
from engine.cli import main

async def submit(endpoint, submission, *others):
    raise RuntimeError(f"POST {submission.upload.reveal()} as {os.environ['SPEECHSTREAM_API_KEY']} went wrong")

engine.stages.submission.submit = submit
main()
"""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Something to upload."""
    path = tmp_path / "recording.bin"
    path.write_bytes(random.Random(1).randbytes(3_000_000))
    return path


def secrets_of(service: ScriptedService) -> set[str]:
    """What may be seen by nobody: the key, and the ids of uploads, as whoever has one may write to the upload."""
    assert service.uploads
    return {KEY, *service.uploads}


def everything_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()


def leaks(secrets: set[str], places: Iterator[tuple[str, bytes]]) -> list[str]:
    """The places that hold a secret."""
    return [name for name, content in places if any(secret.encode() in content for secret in secrets)]


def run(*words: str, state: Path, endpoint: str) -> tuple[int, str]:
    """One command; its exit code, and all it wrote to stdout and stderr, and what `ps` shows of it."""
    with Command(words, environment(state, endpoint, KEY)) as command:
        argv = Path(f"/proc/{command.process.pid}/cmdline").read_bytes().decode()
        code, written = _finished(command)
    return code, f"{argv}\n{written}"


def run_quietly(*words: str, state: Path, endpoint: str) -> tuple[int, str]:
    """The same without `ps`: what a person typed into the command line is there for all to see."""
    with Command(words, environment(state, endpoint, KEY)) as command:
        return _finished(command)


def _finished(command: Command) -> tuple[int, str]:
    code, printed = command.finish()
    return code, "\n".join([printed, json.dumps(command.events), *command.complaints])


@pytest.mark.parametrize("moment", [Moment.MID_BODY, Moment.TRUNCATED])
def test_nothing_tells_a_secret(tmp_path: Path, recording: Path, moment: Moment) -> None:
    """Through cuts, a 500, a 401 and a result, at full verbosity, no output and no file has a secret."""
    state = tmp_path / "state"
    refusals = [(3, 500), (8, 401)]
    with ScriptedService(Strike(4, moment), statuses=refusals) as service:
        ways = [
            ("transcribe", str(recording), "--recipe", "as-is", "-vv"),
            ("transcribe", str(recording), "--recipe", "as-is", "-vv", "--progress", "json", "--json"),
            ("jobs", "--json"),
            ("show", "job-1"),
        ]
        ends = [run(*way, state=state, endpoint=service.endpoint) for way in ways]
    said = [(" ".join(way), text.encode()) for way, (_, text) in zip(ways, ends, strict=True)]

    assert [code for code, _ in ends] == [75, 0, 0, 0]
    assert "401" in ends[0][1]
    assert TEXT in ends[1][1]
    assert b"PATCH" in said[0][1]
    assert leaks(secrets_of(service), iter(said)) == []
    assert leaks(secrets_of(service), everything_in(state)) == []


def test_not_even_a_bug_tells_a_secret(tmp_path: Path, recording: Path) -> None:
    """The trace of an error that nobody foresaw has key and upload taken out of it, and still says where it was."""
    state = tmp_path / "state"
    with ScriptedService() as service:
        done = subprocess.run(
            [sys.executable, "-c", WITH_A_BUG, "transcribe", str(recording), "--recipe", "as-is", "-vv"],
            env=environment(state, service.endpoint, KEY),
            cwd=ROOT,
            capture_output=True,
            check=False,
        )

    assert done.returncode == 2
    assert b"RuntimeError" in done.stderr
    assert b"Traceback" in done.stderr
    assert b"pipeline.py" in done.stderr
    assert leaks(secrets_of(service), iter([("stdout", done.stdout), ("stderr", done.stderr)])) == []
    assert leaks(secrets_of(service), everything_in(state)) == []


@pytest.mark.parametrize("login", [True, False])
def test_an_address_to_send_to_keeps_its_secrets(tmp_path: Path, recording: Path, login: bool) -> None:  # noqa: FBT001 - a column
    """A signature and a password in --to reach the server and nothing else: no file, no output, and not the upload's
    own address that is the result; also when a page that repeats what was asked is the answer.
    """
    state = tmp_path / "state"
    signature, password = "c2lnbmF0dXJlLTEyMzQ1", "hunter2hunter2"
    asked_for = set[str]()

    def answering(asked: Asked) -> bytes | None:
        if asked.path.startswith("/v1/uploads?"):
            asked_for.add(asked.path.partition("?")[2])
        page = f"<html>No such page: {asked.path} for {password}</html>"
        return reply(403, content=page) if asked.method == "PATCH" and pages else None

    with ScriptedService() as service:
        service.replying = answering
        address = service.endpoint.replace("//", f"//me:{password}@") if login else service.endpoint
        to = ("send", str(recording), "--to", f"{address}/uploads?sig={signature}", "--progress", "json", "-vv")
        pages = True
        refused_code, refused = run_quietly(*to, state=state, endpoint=service.endpoint)
        kept = list(everything_in(state))
        pages = False
        code, printed = run_quietly(*to, "--json", state=state, endpoint=service.endpoint)
    assert (refused_code, code) == (75, 0)
    assert asked_for == {f"sig={signature}"}
    assert "/v1/uploads/" in printed
    said = iter([("refused", refused.encode()), ("delivered", printed.encode())])
    secrets = {signature, password}
    assert any(name.endswith("live.json") for name, _ in kept)
    assert leaks(secrets, iter(kept)) == []
    assert leaks(secrets, said) == []
    assert leaks(secrets, everything_in(state)) == []

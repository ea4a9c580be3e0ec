"""`send --upload-url`: an upload that somebody else made takes a recording's bytes, and is never made anew."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import Command, environment
from tests.personalities.manners import Vimeo
from tests.personalities.server import PersonalServer, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = random.Random(5).randbytes(100_000)
UPLOAD_ID = "an-upload-that-only-its-owner-knows"


@pytest.fixture
def server() -> Iterator[PersonalServer]:
    """A server with one upload, made for the recording."""
    with PersonalServer(Vimeo()) as server:
        server.personality.uploads = {UPLOAD_ID: Upload(len(CONTENT), "")}
        yield server


def send(server: PersonalServer, folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command; gives its exit code, what it printed, and what it told."""
    recording = folder / "recording.bin"
    if not recording.exists():
        recording.write_bytes(CONTENT)
    url = f"{server.creation_url}/{UPLOAD_ID}"
    surroundings = environment(folder / "state", "http://127.0.0.1:9/v1")
    with Command((*(words or ("send", str(recording), "--upload-url", url)), "-vv"), surroundings) as command:
        code, printed = command.finish()
    return code, printed.strip(), "".join(command.complaints)


def test_the_bytes_go_there(server: PersonalServer, tmp_path: Path) -> None:
    """They arrive, the URL is printed and told to nobody else, and a repetition asks nothing."""
    code, url, told = send(server, tmp_path)
    asked = len(server.personality.asked)

    assert (code, url) == (0, f"{server.creation_url}/{UPLOAD_ID}")
    assert server.personality.uploads[UPLOAD_ID].content == CONTENT
    assert send(server, tmp_path)[:2] == (0, url)
    assert len(server.personality.asked) == asked
    stored = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert UPLOAD_ID not in told
    assert UPLOAD_ID.encode() not in stored
    assert {request.method for request in server.personality.asked} == {"HEAD", "PATCH"}


def test_what_is_there_already_is_not_sent(server: PersonalServer, tmp_path: Path) -> None:
    """It goes on behind bytes that were brought by another program, and says that they were not compared."""
    server.personality.uploads[UPLOAD_ID].content += CONTENT[:60_000]
    code, _, told = send(server, tmp_path)

    assert code == 0
    assert server.personality.uploads[UPLOAD_ID].content == CONTENT
    assert "the upload already holds 60000 bytes" in told


def test_an_upload_of_another_length(server: PersonalServer, tmp_path: Path) -> None:
    """It was not made for this recording: nothing is sent, and no other is made."""
    server.personality.uploads[UPLOAD_ID].length_bytes += 1
    code, printed, told = send(server, tmp_path)

    assert (code, printed) == (2, "")
    assert "no other can be made in its place" in told
    assert server.personality.uploads[UPLOAD_ID].content == b""


def test_an_upload_that_is_gone(server: PersonalServer, tmp_path: Path) -> None:
    """It is said so; when it is there after all, the job goes on."""
    uploads, server.personality.uploads = server.personality.uploads, {}
    code, printed, told = send(server, tmp_path)
    assert (code, printed) == (2, "")
    assert "no other can be made in its place" in told

    server.personality.uploads = uploads
    code, printed, _ = send(server, tmp_path, "resume")

    assert code == 0
    assert server.personality.uploads[UPLOAD_ID].content == CONTENT

"""A key that expires in mid-upload stops it at once, and the next key goes on (AzureStorageExplorer#8200)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.faults.command import Command, environment
from tests.personalities.server import Personality, PersonalServer, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.personalities.server import Asked

CONTENT = random.Random(7).randbytes(3_000_001)


class Expiring(Personality):
    """Knows one key until the second append, and another one from then on."""

    good = "Bearer the-first-key"

    def answer(self, asked: Asked) -> Reply:
        """What any request is told whose key is not good now."""
        if asked.method == "PATCH" and self.seen["PATCH"] == 1:
            self.good = "Bearer the-second-key"
        if asked.headers.get("authorization") == self.good:
            return super().answer(asked)
        asked.drain()
        return Reply(401)


def test_a_key_that_expires(tmp_path: Path) -> None:
    """Exit 75 with a hint; the same command with a good key sends only what is missing, into the same upload."""
    recording = tmp_path / "recording.bin"
    recording.write_bytes(CONTENT)
    ends = []
    with PersonalServer(server := Expiring()) as line:
        for key in ("the-first-key", "the-second-key"):
            words = ("send", str(recording), "--to", line.creation_url, "--header", f"Authorization: Bearer {key}")
            with Command(words, environment(tmp_path / "state", "http://127.0.0.1:9/v1")) as command:
                ends.append((command.finish()[0], "".join(command.complaints)))
        appended = sum(asked.length_bytes for asked in server.asked if asked.method == "PATCH")

    (stopped, told), (code, _) = ends
    assert (stopped, code) == (75, 0)
    assert "--header" in told
    assert "the-first-key" not in told
    assert server.uploads["u1"].content == CONTENT
    assert list(server.uploads) == ["u1"]
    assert appended == len(CONTENT)

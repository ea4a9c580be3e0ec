"""A user at a shell: the real command, run again and again on one recording."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.command import Command, environment
from tests.faults.service import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.scripted import Asked


@dataclass
class Shell:
    """One user on one machine. `heard` is what the last run said on stderr, `said` its events."""

    endpoint: str
    folder: Path
    recording: Path
    key: str = KEY
    heard: str = ""
    said: list[dict[str, object]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """This machine's memory of uploads."""
        return self.folder / "state"

    def command(self, *words: str) -> Command:
        """A run that is to be watched."""
        return Command((*words, "--progress", "json"), environment(self.state, self.endpoint, self.key))

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end: its exit code and what it printed."""
        with self.command(*words) as command:
            code, printed = command.finish()
        self.heard, self.said = "".join(command.complaints), command.events
        return code, printed.strip()

    def transcribe(self, *options: str) -> tuple[int, str]:
        """Transcribe the recording."""
        return self.run("transcribe", str(self.recording), "--recipe", "as-is", *options)

    def a_minute_later(self) -> None:
        """Let the limits of five calls a minute be of the past."""
        with closing(sqlite3.connect(self.state / "manifest.db")) as manifest, manifest:
            manifest.execute("UPDATE pace SET at = at - 60")


def make_recording(folder: Path, size_bytes: int) -> Path:
    """A file of random bytes, always the same ones for a size."""
    path = folder / "recording.bin"
    path.write_bytes(random.Random(size_bytes).randbytes(size_bytes))
    return path


def from_nth(route: str, number: int, answer: bytes) -> Callable[[Asked], bytes | None]:
    """A service that answers so to everything from the `number`th such request on."""
    seen = 0

    def replying(asked: Asked) -> bytes | None:
        nonlocal seen
        seen += asked.route == route or seen >= number
        return answer if seen >= number else None

    return replying

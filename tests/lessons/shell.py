"""A user at a shell: the real command, run again and again on one recording."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.command import Command, environment
from tests.faults.service import KEY

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Shell:
    """One user on one machine. `heard` is what the last run said on stderr, `said` its events."""

    endpoint: str
    folder: Path
    recording: Path
    key: str = KEY
    heard: str = ""
    said: list[dict[str, object]] = field(default_factory=list)

    def command(self, *words: str, listens: bool = False) -> Command:
        """A run that is to be watched; `listens` where its standard input is a pipe."""
        surroundings = environment(self.folder / "state", self.endpoint, self.key)
        return Command((*words, "--progress", "json"), surroundings, listens=listens)

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end: its exit code and what it printed."""
        with self.command(*words) as command:
            code, printed = command.finish()
        self.heard, self.said = "".join(command.complaints), command.events
        return code, printed.strip()


def make_recording(folder: Path, size_bytes: int) -> Path:
    """A file of random bytes, always the same ones for a size."""
    path = folder / "recording.bin"
    path.write_bytes(random.Random(size_bytes).randbytes(size_bytes))
    return path

"""The real `speechstream` command as a process that is watched while it runs, and may be killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.faults.service import KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(sys.executable).with_name("speechstream")
_PATIENCE_S = 100.0


def environment(state: Path, endpoint: str, key: str = KEY) -> dict[str, str]:
    """The environment of a user who has nothing of this program but what is given here."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("SPEECHSTREAM_", "XDG_"))}
    own = {
        "SPEECHSTREAM_STATE_DIR": str(state),
        "SPEECHSTREAM_ENDPOINT": endpoint,
        "SPEECHSTREAM_API_KEY": key,
        "XDG_CONFIG_HOME": str(state.parent / "no-config"),
        "XDG_RUNTIME_DIR": str(state.parent / "no-runtime"),
    }
    return bare | own


@dataclass(slots=True)
class Command:
    """One run of the command; its `with` block ends by killing what still runs.

    Attributes:
        program: what is run with the arguments.
        listens: whether its stdin is a pipe.
        events: what `--progress json` has said so far.
        complaints: the other lines of stderr.
        peak_kib: the largest resident set that `sample` has seen.
        started_s: when the process was begun, on the monotonic clock.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    program: tuple[str | Path, ...] = (PROGRAM,)
    listens: bool = False
    events: list[dict[str, object]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    peak_kib: int = 0
    started_s: float = field(init=False)
    process: subprocess.Popen[str] = field(init=False)
    _reader: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            [*self.program, *self.arguments],
            env=dict(self.environment),
            stdin=subprocess.PIPE if self.listens else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill(self) -> int:
        """SIGKILL unless it has ended; returns the exit code (-9 after the kill)."""
        self.sample()
        self.process.kill()
        code = self.process.wait()
        self._reader.join()
        return code

    def kill_now(self) -> None:
        """SIGKILL from whatever thread, and return when it is gone."""
        self.process.kill()
        self.process.wait()

    def sample(self) -> None:
        """Note the peak of its resident set (VmHWM of proc(5)); a process that has just ended has none."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            return
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        self.peak_kib = max(self.peak_kib, int(found[1]) if found else 0)

    def finish(self, patience_s: float = _PATIENCE_S) -> tuple[int, str]:
        """Let it run to its end; returns the exit code and what it printed."""
        code = self.process.wait(patience_s)
        self._reader.join()
        assert self.process.stdout is not None
        return code, self.process.stdout.read()

    @property
    def ended(self) -> bool:
        """Whether it is gone by itself."""
        return self.process.poll() is not None

    def of(self, kind: str) -> list[dict[str, object]]:
        """The events of one kind so far."""
        return [event for event in list(self.events) if event["event"] == kind]

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                try:
                    said = json.loads(line)
                except ValueError:
                    said = None
                if isinstance(said, dict) and "event" in said:
                    self.events.append(said)
                else:
                    self.complaints.append(line)

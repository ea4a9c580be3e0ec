"""The real command, many times from one process that has imported everything: each run is a fork of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ROOT = Path(__file__).parents[1]

# What is imported here is what commands would import themselves; none of it may depend on who runs them.
PROGRAM = """
import json, os, sys
import anyio._backends._asyncio, ffmpeg, xxhash
import engine.cli.prepare, engine.cli.results, engine.cli.session, engine.cli.signals, engine.progress.json_lines
import engine.config, engine.preparing, preprocess
MORE
from engine.cli import main

for line in iter(sys.stdin.readline, ""):
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        for name, fd in (("output", 1), ("complaints", 2)):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), fd)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = ["speechstream", *order["words"]]
        main()
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of the command ended: its exit code, what it printed, and what it told."""

    code: int
    output: str
    told_text: str

    @property
    def complaints(self) -> tuple[str, ...]:
        """What it told, line by line."""
        return tuple(self.told_text.splitlines())

    def told(self, event: str) -> list[dict[str, object]]:
        """The events of one kind."""
        lines = [json.loads(line) for line in self.complaints]
        return [line for line in lines if line.get("event") == event]

    @property
    def error(self) -> dict[str, object]:
        """The error it ended with."""
        lines: list[dict[str, object]] = [json.loads(line) for line in self.complaints]
        return next((line for line in lines if "error" in line), {})


class WarmCommand:
    """Runs `speechstream` in milliseconds; everything else about it is real.

    `home` is a folder of its own, `more` are statements that are done before all runs.
    """

    def __init__(self, home: Path, environment: Mapping[str, str], more: str = "") -> None:
        self._home = home
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.replace("MORE", more)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def start(self, folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
        """Begin a run in `folder`, in an environment that may be another one."""
        names = {"output": self._home / "output", "complaints": self._home / "complaints"}
        names["complaints"].unlink(missing_ok=True)
        order = {"words": words, "folder": str(folder), "environment": dict(environment or self._environment)}
        order |= {name: str(path) for name, path in names.items()}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def complaints(self) -> str:
        """What the run has told so far."""
        path = self._home / "complaints"
        return path.read_text("utf-8") if path.exists() else ""

    def finish(self) -> Run:
        """Wait for the run's end."""
        assert self._process.stdout is not None
        code = int(self._process.stdout.readline())
        return Run(code, (self._home / "output").read_text("utf-8"), self.complaints())

    def run(self, folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> Run:
        """A run from its beginning to its end."""
        self.start(folder, *words, environment=environment)
        return self.finish()

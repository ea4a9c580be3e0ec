from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.warm import WarmCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = "import sys; sys.argv[0] = 'speechstream'; from engine.cli import main; main()"
PATIENCE_S = 60.0


@dataclass
class Shell:
    """A shell of somebody who has never run the command: no key, no service, an empty state folder."""

    home: Path
    warm: WarmCommand
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
        self.environment = {
            **kept,
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "SPEECHSTREAM_STATE_DIR": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
        }

    def run(self, *words: str | Path, program: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command to its end: from the first word of an interpreter, if it is by a program of one's own."""
        if program is None:
            run = self.warm.run(self.home, *map(str, words), environment=self.environment)
            return subprocess.CompletedProcess(["speechstream", *words], run.code, run.output, run.told_text)
        return subprocess.run(
            self.command(*words, program=program),
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Begin to run the command."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def command(*words: str | Path, program: str = PROGRAM) -> list[str]:
        """The command as words, run from the sources."""
        return [sys.executable, "-c", program, *map(str, words)]


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommand]:
    """The command, ready to run."""
    with WarmCommand(tmp_path_factory.mktemp("warm"), os.environ) as warm:
        yield warm


@pytest.fixture
def shell(tmp_path: Path, warm: WarmCommand) -> Iterator[Shell]:
    """A fresh user's shell. Whoever runs the tests under `nohup` has HUP ignored, and programs inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield Shell(tmp_path, warm)
    signal.signal(signal.SIGHUP, before)


class Stubborn(ThreadingHTTPServer):
    """A server that gives every request the same status, or with 0 none at all until it is closed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked = threading.Event()
        self.ending = threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class _Answer(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        server = self.server
        assert isinstance(server, Stubborn)
        server.asked.set()
        if server.status == 0:
            server.ending.wait(PATIENCE_S)
            return
        self.send_response(server.status)
        if server.status == 200 and self.command == "OPTIONS":
            self.send_header("Tus-Resumable", "1.0.0")
            self.send_header("Tus-Extension", "creation")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_OPTIONS = do_POST = do_HEAD = do_PATCH = do_GET = _answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serving(status: int) -> Iterator[Stubborn]:
    with Stubborn(status) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.ending.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def silent() -> Iterator[Stubborn]:
    """A server that takes requests and never answers."""
    yield from _serving(0)


@pytest.fixture
def forbidding() -> Iterator[Stubborn]:
    """A server that likes no key."""
    yield from _serving(401)

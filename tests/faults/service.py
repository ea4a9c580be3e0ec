"""The real service as a process of its own, which can be killed and comes back on the same port."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

KEY = "key-of-the-fault-tests"
_ROOT = Path(__file__).parents[2]
_STOPPING_S = 20.0


@dataclass(slots=True)
class Service:
    """A service over `folder`; it runs while its `with` block does. Keys are limited as documented."""

    folder: Path
    options: tuple[str, ...] = ("--no-transcriber",)
    port: int = 0
    host: str = "127.0.0.1"
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(f"{KEY}\n", encoding="ascii")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        process = self._running()
        process.terminate()
        try:
            process.wait(_STOPPING_S)
        finally:
            self.kill()

    @property
    def data(self) -> Path:
        """The service's data folder."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything the service wrote to stderr, its access log included."""
        return (self.folder / "service.log").read_text(encoding="utf-8")

    def start(self) -> None:
        """Start the process and wait until it listens; the first start chooses the port."""
        command = [sys.executable, "-m", "engine.devserver", "--announce", "json", "--port", str(self.port)]
        command += ["--host", self.host, "--data", str(self.data), "--key-file", str(self._key_file), *self.options]
        with (self.folder / "service.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        self._process = process
        assert process.stdout is not None
        announced = process.stdout.readline()
        if not announced:
            raise RuntimeError(f"the service did not start: {self.log}")
        self.port = int(json.loads(announced)["endpoint"].rpartition(":")[2].partition("/")[0])

    def kill(self, by: signal.Signals = signal.SIGKILL) -> None:
        """SIGKILL, whatever it is doing, or a gentler signal; returns when it is gone."""
        process = self._running()
        process.send_signal(by)
        process.wait(_STOPPING_S)
        if process.stdout is not None:
            process.stdout.close()

    def recordings(self) -> dict[str, Path]:
        """What jobs have received, by processing_id."""
        return {path.name: path for path in sorted((self.data / "recordings").iterdir())}

    def jobs(self) -> list[str]:
        """The processing_ids in the service's database."""
        return [row[0] for row in self._rows("SELECT id FROM jobs ORDER BY created_at")]

    def transcribe_at_once(self) -> None:
        """Let every job that comes be transcribed in the moment it is made, by a trigger in the database."""
        made = "UPDATE jobs SET status = 'completed', transcription = 'heard in ' || NEW.id WHERE id = NEW.id"
        self._change(f"CREATE TRIGGER transcriber AFTER INSERT ON jobs BEGIN {made}; END")

    def transcribe_older_than(self, age_s: float) -> None:
        """Give every job that is so old, in seconds, its transcript."""
        heard = "SET status = 'completed', transcription = 'heard in ' || id WHERE status = 'processing'"
        self._change(f"UPDATE jobs {heard} AND created_at < ?", time.time() - age_s)

    def upload_count(self) -> int:
        """How many uploads were ever created."""
        return len(self._rows("SELECT name FROM uploads"))

    def held_bytes(self) -> int:
        """How much of a recording the service has on its disk, where it is sent only one.

        Either in uploads, of which a joined one is but another name for its partials, or in a job's recording.
        """
        uploads = {facts.st_ino: facts.st_size for facts in self._files("uploads")}
        return max(sum(uploads.values()), *(facts.st_size for facts in self._files("recordings")), 0)

    @property
    def _key_file(self) -> Path:
        return self.folder / "keys"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the service has not been started")
        return self._process

    def _rows(self, query: str) -> list[tuple[str]]:
        with closing(sqlite3.connect(self.data / "state.db")) as database:
            return database.execute(query).fetchall()

    def _change(self, statement: str, *values: float) -> None:
        with closing(sqlite3.connect(self.data / "state.db", timeout=_STOPPING_S)) as database, database:
            database.execute(statement, values)

    def _files(self, folder: str) -> Iterator[os.stat_result]:
        for path in (self.data / folder).iterdir():
            try:
                yield path.stat()
            except FileNotFoundError:  # swept between the listing and the look
                continue

"""The programs of an interoperability run: our service, and clients and servers that nobody here wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx
import xxhash

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
PATIENCE_S = 60.0
# Not a multiple of anything a client or server here cuts its data by.
PART_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class NpmPeers:
    """Programs for Node.js: the binary, and a folder where scripts find their packages."""

    node: str
    scripts: Path

    @classmethod
    def in_folder(cls, folder: Path, scripts: Path) -> NpmPeers:
        """Use the packages of `folder`, with its own Node.js if it has one.

        An import is looked up beside the importing file, so the scripts are copied next to a link.
        """
        packages = (folder / "node_modules").resolve(strict=True)
        for script in PEERS.glob("*.mjs"):
            shutil.copy(script, scripts)
        (scripts / "node_modules").symlink_to(packages)
        return cls(shutil.which("node", path=packages / ".bin") or "node", scripts)

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command that runs one of the scripts of `peers/`."""
        return [self.node, str(self.scripts / script), *arguments]


@dataclass(frozen=True, slots=True)
class PythonPeers:
    """Programs for another Python, in which the peers are installed."""

    python: str

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command that runs one of the scripts of `peers/`."""
        return [self.python, str(PEERS / script), *arguments]


def run(command: Sequence[str]) -> dict[str, str]:
    """Run a peer to its end and return what its last line says."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=without_proxies()
    )
    assert done.returncode == 0, done.stderr
    return told_by(done.stdout)


def told_by(printed: str) -> dict[str, str]:
    """What the last line of a peer's output says."""
    told: dict[str, str] = json.loads(printed.splitlines()[-1])
    return told


def without_proxies() -> dict[str, str]:
    """The environment without the proxies that a strangers' client would send loopback requests to."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@dataclass(slots=True)
class Service:
    """The SpeechStream service of this checkout over a folder; it runs while its `with` block does.

    Its transcriber stays away. After a kill it comes back on another port.
    """

    data: Path
    key: str
    endpoint: str = field(default="", init=False)
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the process and wait until it says where it listens."""
        command = [sys.executable, "-m", "engine.devserver", "--host", "127.0.0.1", "--port", "0"]
        command += ["--data", str(self.data), "--keys-from-stdin", "--announce", "json"]
        command += ["--no-transcriber", "--no-access-log", "--uploads-per-minute", "1000"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=without_proxies())
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self.key}\n")
        self._process.stdin.flush()
        self.endpoint = json.loads(self._process.stdout.readline())["endpoint"]

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    @property
    def port(self) -> int:
        """Where it listens now."""
        return httpx.URL(self.endpoint).port or 0

    def submit(self, upload_url: str, content: bytes, part_bytes: int = PART_BYTES) -> httpx.Response:
        """Submit an upload by reference, stating the digests of `content`."""
        digests = [
            xxhash.xxh3_128_digest(content[start : start + part_bytes]) for start in range(0, len(content), part_bytes)
        ]
        whole = xxhash.xxh3_128_hexdigest(b"".join(digests))
        document = {
            "upload": upload_url,
            "size": len(content),
            "filename": "recording.bin",
            "part_size": part_bytes,
            "digest": {"algorithm": "xxh3-128-parts", "value": whole},
            "parts": [digest.hex() for digest in digests],
        }
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": f"interop-{upload_url}"}
        url = f"{self.endpoint}/upload"
        return httpx.post(url, json=document, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def received(self, upload_url: str, content: bytes) -> bytes:
        """Submit an upload, which makes the service compare digests, and return the job's recording."""
        answer = self.submit(upload_url, content)
        assert answer.status_code == httpx.codes.OK, answer.text
        processing_id: str = answer.json()["processing_id"]
        return (self.data / "recordings" / processing_id).read_bytes()

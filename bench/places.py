"""Where the bytes of a bench go: servers of one run each, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = "127.0.0.1"
KEY = "a-key-of-the-bench"
_HERE = Path(__file__).parent
_SCRIPTS = _HERE.parent / "tests" / "interop" / "peers"


@dataclass(frozen=True, slots=True)
class Peers:
    """Programs for Node.js, copied to where they find their packages."""

    node: str
    scripts: Path
    folder: Path

    @classmethod
    def found(cls, folder: Path, scratch: Path) -> Peers | None:
        """Those that `.ci/peers` installed into `folder`, if it did."""
        packages = folder.resolve() / "node_modules"
        node = shutil.which("node", path=packages / ".bin") or shutil.which("node")
        if node is None or not packages.is_dir():
            return None
        scripts = scratch / "scripts"
        scripts.mkdir()
        for script in _SCRIPTS.glob("*.mjs"):
            shutil.copy(script, scripts)
        (scripts / "node_modules").symlink_to(packages)
        return cls(node, scripts, folder.resolve())

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command that runs a script."""
        return [self.node, str(self.scripts / script), *arguments]


@dataclass(slots=True)
class Ground:
    """What all runs share: a scratch folder, the peers, and an authority that signs the servers' certificates."""

    scratch: Path
    peers: Peers | None
    authority: Authority = field(init=False)
    certificate: Path = field(init=False)
    _folders: int = 0

    def __post_init__(self) -> None:
        self.authority = Authority(self.scratch / "tls")
        self.certificate = self.authority.certificate()

    def folder(self) -> Path:
        """A new folder's path."""
        self._folders += 1
        return self.scratch / f"data-{self._folders}"

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a client: believes the authority, in the words of OpenSSL, of curl and of Node.js.

        Python may keep what it has compiled, as it may where users install it.
        """
        authority = str(self.authority.file)
        users = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            **users,
            "SSL_CERT_FILE": authority,
            "CURL_CA_BUNDLE": authority,
            "NODE_EXTRA_CA_CERTS": authority,
            **more,
        }


@dataclass(frozen=True, slots=True)
class Opened:
    """A server that listens."""

    creation_url: str
    process: subprocess.Popen[str]

    def cpu_s(self) -> float:
        """Processor seconds it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5)


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of server. `command` is given the ground, and the folder for its data.

    `path` leads from the address that it announces to where uploads are made.
    """

    name: str
    command: Callable[[Ground, Path], list[str]]
    path: str = ""
    needs_peers: bool = False

    def is_here(self, ground: Ground) -> bool:
        """Whether what it needs is installed."""
        return not self.needs_peers or ground.peers is not None

    @contextmanager
    def open(self, ground: Ground) -> Iterator[Opened]:
        """Start one with an empty folder; it ends with the block, and so does the folder."""
        folder = ground.folder()
        folder.mkdir()
        with subprocess.Popen(
            self.command(ground, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(f"{KEY}\n")
                process.stdin.flush()
                yield Opened(json.loads(process.stdout.readline())["endpoint"] + self.path, process)
            finally:
                process.kill()
        shutil.rmtree(folder)


def _sink(*_: object) -> list[str]:
    return [sys.executable, str(_HERE / "sink.py")]


def _tls_sink(ground: Ground, _: Path) -> list[str]:
    return [*_sink(), "--certificate", str(ground.certificate)]


def _service(_: Ground, folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "engine.devserver", "--port", "0", "--data", str(folder),
        "--keys-from-stdin", "--announce", "json", "--no-transcriber", "--no-access-log",
    ]  # fmt: skip


def _tus_server(ground: Ground, folder: Path) -> list[str]:
    assert ground.peers is not None
    return ground.peers.command("tus-server.mjs", HERE, "0", str(folder))


def _tls_tus_server(ground: Ground, folder: Path) -> list[str]:
    return [*_tus_server(ground, folder), str(ground.certificate)]


PLACES = (
    Place("sink", _sink),
    Place("sink, TLS", _tls_sink),
    Place("own service", _service, path="/uploads"),
    Place("@tus/server", _tus_server, needs_peers=True),
    Place("@tus/server, TLS", _tls_tus_server, needs_peers=True),
)

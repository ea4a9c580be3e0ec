"""Who carries the bytes of a bench: programs that are given a file and the URL where uploads are made."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from .places import KEY, PLACES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .places import Ground, Opened

COMMAND: Final = Path(sys.executable).with_name("speechstream")
_BARE: Final = Path(__file__).with_name("bare_httpx.py")
_AUTHORIZATION: Final = f"Bearer {KEY}"
_CHUNK_TYPE: Final = "application/offset+octet-stream"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost: its own processor seconds with those of its children, and its server's."""

    seconds: float
    cpu_s: float
    server_cpu_s: float
    peak_kib: int


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that uploads. `command` is given the ground, the creation URL and the file."""

    name: str
    command: Callable[[Ground, str, Path], list[str]]
    is_here: Callable[[Ground], bool] = lambda _: True

    def send(self, ground: Ground, opened: Opened, file: Path) -> Cost:
        """Run it to its end; what prepares the ground for it, like the creation of an upload, is not counted."""
        command = self.command(ground, opened.creation_url, file)
        environment = ground.environment(
            SPEECHSTREAM_STATE_DIR=str(ground.folder()), BENCH_AUTHORIZATION=_AUTHORIZATION
        )
        server_cpu_s, started_s = opened.cpu_s(), time.monotonic()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            words = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started_s
        if process.returncode:
            sys.exit(f"{self.name} failed: {words.decode()[-500:]}")
        cpu_s = usage.ru_utime + usage.ru_stime
        return Cost(seconds, cpu_s, opened.cpu_s() - server_cpu_s, usage.ru_maxrss)


def start_up_s(ground: Ground, file: Path) -> float:
    """Seconds from the start of our command to the first byte of the file at the sink."""
    with PLACES[0].open(ground) as opened:
        started_s = time.monotonic()
        OURS.send(ground, opened, file)
        assert opened.process.stdout is not None
        while (told := json.loads(opened.process.stdout.readline()))["method"] != "PATCH":
            pass
    first_s: float = told["body_s"]
    return first_s - started_s


def _ours(_: Ground, url: str, file: Path) -> list[str]:
    return [str(COMMAND), "send", str(file), "--to", url, "--header", f"Authorization: {_AUTHORIZATION}",
            "--progress", "none"]  # fmt: skip


def _made(ground: Ground, url: str, file: Path) -> str:
    """An upload for those that only know how to send."""
    headers = {"Authorization": _AUTHORIZATION, "Tus-Resumable": "1.0.0", "Upload-Length": str(file.stat().st_size)}
    trust = ssl.create_default_context(cafile=str(ground.authority.file))
    made = httpx.post(url, headers=headers, verify=trust)
    made.raise_for_status()
    return str(httpx.URL(url).join(made.headers["location"]))


def _bare_httpx(ground: Ground, url: str, file: Path) -> list[str]:
    return [sys.executable, str(_BARE), _made(ground, url, file), str(file)]


def _curl(ground: Ground, url: str, file: Path) -> list[str]:
    return ["curl", "--silent", "--show-error", "--fail", "-X", "PATCH", "-T", str(file), "-H", "Expect:",
            "-H", f"Authorization: {_AUTHORIZATION}", "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0",
            "-H", f"Content-Type: {_CHUNK_TYPE}", _made(ground, url, file)]  # fmt: skip


def _tus_js(ground: Ground, url: str, file: Path) -> list[str]:
    assert ground.peers is not None
    return ground.peers.command("tus-js-upload.mjs", url, str(file), KEY)


OURS: Final = Contestant("speechstream send", _ours)
CONTESTANTS: Final = (
    OURS,
    Contestant("bare httpx", _bare_httpx),
    Contestant("curl", _curl, lambda _: shutil.which("curl") is not None),
    Contestant("tus-js-client", _tus_js, lambda ground: ground.peers is not None),
)

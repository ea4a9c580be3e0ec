"""What the client costs when the link costs nothing: `speechstream send` beside `curl`, to the service built in."""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
COMMAND = Path(sys.executable).with_name("speechstream")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of one contestant cost."""

    seconds: float
    cpu_s: float
    peak_kib: int


@contextmanager
def service(folder: Path, key: str) -> Iterator[str]:
    """A fresh service on loopback; yields its endpoint."""
    command = [
        sys.executable, "-m", "engine.devserver", "--port", "0", "--data", str(folder),
        "--keys-from-stdin", "--announce", "json", "--no-transcriber", "--no-access-log",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{key}\n")
        process.stdin.flush()
        yield json.loads(process.stdout.readline())["endpoint"]
        process.stdin.close()
        process.wait()


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command to its end and tell its cost; its own children count too."""
    started_s = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        words = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed: {words.decode()[-500:]}")
    return Cost(time.monotonic() - started_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def send(file: Path, endpoint: str, key: str, scratch: Path) -> Cost:
    """Our command, as a user would type it."""
    environment = {
        **os.environ,
        "SPEECHSTREAM_ENDPOINT": endpoint,
        "SPEECHSTREAM_API_KEY": key,
        "SPEECHSTREAM_STATE_DIR": str(scratch / secrets.token_hex(4)),
    }
    return run([str(COMMAND), "send", str(file), "--to", f"{endpoint}/uploads",
                "--header", f"Authorization: Bearer {key}", "--progress", "none"], environment)  # fmt: skip


def curl(file: Path, endpoint: str, key: str, _: Path) -> Cost:
    """One PATCH by curl, to an upload made beforehand."""
    headers = {"Authorization": f"Bearer {key}", "Tus-Resumable": "1.0.0", "Upload-Length": str(file.stat().st_size)}
    made = httpx.post(f"{endpoint}/uploads", headers=headers)
    url = str(httpx.URL(endpoint).join(made.headers["location"]))
    return run(["curl", "--silent", "--show-error", "--fail", "-X", "PATCH", "-T", str(file), "-H", "Expect:",
                "-H", f"Authorization: Bearer {key}", "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0",
                "-H", "Content-Type: application/offset+octet-stream", url], dict(os.environ))  # fmt: skip


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contestants = {"speechstream send": send, **({"curl": curl} if shutil.which("curl") else {})}
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as name:
        scratch, key = Path(name), secrets.token_urlsafe(16)
        file = scratch / "payload"
        block = random.Random(1).randbytes(MIB)
        with file.open("wb") as out:
            for number in range(options.size_mb):
                out.write(number.to_bytes(8, "big") + block[8:])
        for number in range(options.rounds):
            for contestant, contest in contestants.items():
                data = scratch / f"service-{number}"
                with service(data, key) as endpoint:
                    costs[contestant].append(contest(file, endpoint, key, scratch))
                shutil.rmtree(data)
    print(f"{options.size_mb} MiB, medians of {options.rounds}")
    print(f"{'':20} {'MB/s':>8} {'CPU s':>8} {'peak MiB':>9}")
    for contestant, runs in costs.items():
        rate = options.size_mb * MIB / 1e6 / statistics.median(cost.seconds for cost in runs)
        cpu_s = statistics.median(cost.cpu_s for cost in runs)
        peak = max(cost.peak_kib for cost in runs) / 1024
        print(f"{contestant:20} {rate:8.0f} {cpu_s:8.2f} {peak:9.0f}")


if __name__ == "__main__":
    main()

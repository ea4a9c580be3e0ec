"""Kills the command again and again while it prepares and uploads one recording, and judges what came of it.

    python -m tests.faults.encoding --minutes 30 --kills 50

The artifact on the service must be the one that an undisturbed `speechstream prepare` makes, there must be one job,
and no slice may be encoded twice except those that were being encoded when a kill came. An ffmpeg that keeps count
stands in for the real one.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import preprocess
from preprocess.parallel import worker_count
from tests.faults.command import PROGRAM, Command, environment
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.recording import sha256_of
from tests.faults.service import Service

SPOKEN = Path(__file__).parents[2] / "fixtures" / "spoken.wav"
_EARLIEST_S = 0.3  # the interpreter has started by then, on most machines
_LATEST_S = 4.0
_GLANCE_S = 0.01
_PATIENCE_S = 600.0


@dataclass(slots=True)
class Verdict:
    """What kills while encoding came to.

    Attributes:
        kills: how many hit a command at work.
        encodes: how many times an encoder was started.
        slices: how many slices the recording has, at least.
        workers: how many encoders run at a time.
        arrived: SHA-256 of what every job received.
        wanted: that of the undisturbed artifact.
        size_bytes: its size.
        up_bytes: what went up the link.
        orphans: programs that still read the recording after the last kill.
    """

    kills: int
    encodes: int
    slices: int
    workers: int
    arrived: list[str]
    wanted: str
    size_bytes: int
    up_bytes: int
    orphans: int
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all is as promised."""
        return not self.complaints

    def judge(self) -> Verdict:
        """Fill in what is not as promised."""
        most = self.slices + self.kills * self.workers
        checks = {
            f"one job, not {len(self.arrived)}": len(self.arrived) == 1,
            "the bytes are the undisturbed ones": set(self.arrived) == {self.wanted},
            f"at most {most} encoders are started, not {self.encodes}": self.encodes <= most,
            f"no orphan, not {self.orphans}": self.orphans == 0,
        }
        self.complaints = [demand for demand, met in checks.items() if not met]
        return self

    def __str__(self) -> str:
        again = self.up_bytes - self.size_bytes
        return (
            f"{self.kills} kills; {self.slices} slices took {self.encodes} encoders ({self.workers} at a time); "
            f"{self.size_bytes:,} bytes, {again:,} more went up; "
            + ("; ".join(f"NOT: {text}" for text in self.complaints) or "all as promised")
        )


def speak(path: Path, minutes: float) -> None:
    """Write a recording of so many minutes of speech."""
    with wave.open(str(SPOKEN)) as once, wave.open(str(path), "wb") as often:
        often.setparams(once.getparams())
        sound = once.readframes(once.getnframes())
        for _ in range(max(1, round(minutes * 60 * once.getframerate() / once.getnframes()))):
            often.writeframesraw(sound)


def counting_ffmpeg(folder: Path) -> tuple[Path, Path]:
    """An ffmpeg that leaves an empty file whenever it is started to encode a slice (more it may not write).

    Also returns the folder of these files.
    """
    path, counts, real = folder / "counting-ffmpeg", folder / "counts", preprocess.find_ffmpeg().path
    counts.mkdir()
    count = f'*" pipe:0 "*) mktemp "{counts}/XXXXXXXX" > /dev/null ;;'
    path.write_text(f'#!/bin/sh\ncase " $* " in {count} esac\nexec "{real}" "$@"\n')
    path.chmod(0o700)
    return path, counts


def readers_of(recording: Path) -> int:
    """How many programs have the recording as their input."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return sum(f"file:{recording}" in line for line in lines)


def run(folder: Path, minutes: float, kills: int, rate_bytes_s: float, seed: int, latest_s: float) -> Verdict:
    """Carry one trial out in an empty folder and judge it."""
    recording, chance = folder / "recording.wav", random.Random(seed)
    speak(recording, minutes)
    ffmpeg, counts = counting_ffmpeg(folder)
    undisturbed = folder / "undisturbed.ogg"
    with Service(folder / "service") as service, FaultProxy("127.0.0.1", service.port) as proxy:
        proxy.plan = Plan(otherwise=Fault(rate_bytes_per_s=rate_bytes_s))
        given = environment(folder / "state", f"http://127.0.0.1:{proxy.port}/v1") | {
            "SPEECHSTREAM_FFMPEG": str(ffmpeg)
        }
        prepare = ("prepare", str(recording), "-o", str(undisturbed), "--recipe", "standard", "--progress", "none")
        subprocess.run([PROGRAM, *prepare], env=given, check=True, stdout=subprocess.DEVNULL)
        slices = len(list(counts.iterdir()))
        words = ("upload", str(recording), "--recipe", "standard", "--json", "--progress", "json")
        struck = 0
        for _ in range(kills):
            with Command(words, given) as command:
                until = time.monotonic() + chance.uniform(_EARLIEST_S, latest_s)
                while time.monotonic() < until and not command.ended:
                    time.sleep(_GLANCE_S)
                if command.ended:
                    break
                command.kill()
                struck += 1
        with Command(words, given) as command:
            code, printed = command.finish(_PATIENCE_S)
            if code != 0:
                raise RuntimeError(f"the last run ended with {code}: {command.complaints}")
        named = json.loads(printed)["processing_id"]
        arrived = {name: sha256_of(path) for name, path in service.recordings().items()}
        return Verdict(
            kills=struck,
            encodes=len(list(counts.iterdir())) - slices,
            slices=slices,
            workers=worker_count(),
            arrived=[arrived.pop(named), *arrived.values()],
            wanted=sha256_of(undisturbed),
            size_bytes=undisturbed.stat().st_size,
            up_bytes=proxy.bytes_up,
            orphans=readers_of(recording),
        ).judge()


def main() -> int:
    """Run one trial as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.encoding", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of speech")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rate", type=float, default=60_000.0, help="bytes per second up the link")
    parser.add_argument("--latest", type=float, default=_LATEST_S, help="seconds after its start that a kill comes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="encoding-") as folder:
        verdict = run(Path(folder), options.minutes, options.kills, options.rate, options.seed, options.latest)
    sys.stdout.write(f"{verdict}\n")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())

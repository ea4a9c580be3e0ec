"""Many recordings: a folder of them through the service's limit, and one of them beside 100,000 old jobs.

python -m bench.many folder --recordings 12
python -m bench.many manifest --jobs 100000 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.runtime.manifest import Manifest
from tests.engine.crowd import populate

from .record import keep

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND: Final = Path(sys.executable).with_name("speechstream")
KEY: Final = "key-of-the-bench"
WINDOW_S: Final = 60.5  # of the service's limit, and the client's margin
CALLS: Final = 5


@contextmanager
def service(folder: Path, *options: str) -> Iterator[str]:
    """A fresh service on loopback, limited as documented; yields its endpoint, and logs to `folder`/log."""
    command = [
        sys.executable, "-m", "engine.devserver", "--port", "0", "--data", str(folder / "data"),
        "--keys-from-stdin", "--announce", "json", "--no-transcriber", *options,
    ]  # fmt: skip
    folder.mkdir()
    with (
        (folder / "log").open("w", encoding="utf-8") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{KEY}\n")
        process.stdin.flush()
        yield json.loads(process.stdout.readline())["endpoint"]
        process.stdin.close()
        process.wait()


def run(endpoint: str, state: Path, *words: str) -> dict[str, float]:
    """Run our command to its end; seconds, CPU seconds and peak memory with its children."""
    environment = {
        **os.environ,
        "SPEECHSTREAM_ENDPOINT": endpoint,
        "SPEECHSTREAM_API_KEY": KEY,
        "SPEECHSTREAM_STATE_DIR": str(state),
    }
    began_s = time.monotonic()
    with subprocess.Popen(
        [COMMAND, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words[0]} failed: {said.decode()[-500:]}")
    cost = {"seconds": time.monotonic() - began_s, "cpu_s": usage.ru_utime + usage.ru_stime}
    return {name: round(value, 3) for name, value in cost.items()} | {"peak_mib": usage.ru_maxrss // 1024}


def through_the_limit(scratch: Path, count: int, size_bytes: int, seed: int) -> dict[str, object]:
    """A folder of small recordings, submitted at the documented pace; then once more, when all is done."""
    chance, recordings = random.Random(seed), scratch / "recordings"
    for number in range(count):
        path = recordings / f"day-{number // 50}" / f"take-{number:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(size_bytes))
    words = ("upload", str(recordings), "--recipe", "as-is", "--json", "--progress", "none")
    with service(scratch / "service") as endpoint:
        first = run(endpoint, scratch / "state", *words)
        again = run(endpoint, scratch / "state", *words)
    with closing(sqlite3.connect(scratch / "service" / "data" / "state.db")) as database:
        made = [row[0] for row in database.execute("SELECT created_at FROM jobs ORDER BY created_at")]
    waits = [later - earlier for earlier, later in zip(made, made[CALLS:], strict=False)]
    return {
        "recordings": count,
        "jobs": len(made),
        "refused_429": len(re.findall(r"POST /v1/upload 429", (scratch / "service" / "log").read_text())),
        "first_run": first,
        "run_when_done": again,
        "submissions_s": [round(at - made[0], 2) for at in made],
        "sixth_after_first_s": [round(min(waits), 2), round(max(waits), 2)] if waits else None,
        "idle_s": round(made[-1] - made[0] - (count - 1) // CALLS * WINDOW_S, 2),
    }


def beside_old_jobs(scratch: Path, jobs: int, rounds: int, seed: int) -> dict[str, object]:
    """Commands that look at the manifest, and uploads of new recordings, with many old jobs and with none."""
    chance = random.Random(seed)
    states = {"empty": scratch / "empty", "crowded": scratch / "crowded"}
    populate(states["crowded"], jobs)
    Manifest(states["empty"]).close()
    with service(scratch / "service", "--uploads-per-minute", "100000") as endpoint:
        asked = [("jobs",), ("jobs", "--json"), ("jobs", "--state", "failed"), ("jobs", "--unfinished")]
        costs: dict[str, dict[str, list[float]]] = {name: {} for name in states}
        for _ in range(rounds):
            for name, state in states.items():
                file = scratch / f"{chance.getrandbits(64):x}.wav"
                file.write_bytes(chance.randbytes(300_000))
                with closing(sqlite3.connect(state / "manifest.db")) as database, database:
                    database.execute("DELETE FROM pace")  # what is measured is not the limit
                for words in (*asked, ("upload", str(file), "--recipe", "as-is", "--progress", "none")):
                    cost = run(endpoint, state, *words)
                    called = " ".join(words) if words[0] == "jobs" else words[0]
                    costs[name].setdefault(called, []).append(cost["seconds"])
        found = {
            name: {words: round(statistics.median(took), 3) for words, took in each.items()}
            for name, each in costs.items()
        }
        found["crowded"]["doctor"] = run(endpoint, states["crowded"], "doctor")["seconds"]
    return {"jobs": jobs, "median_s": found}


def main() -> None:
    """Run one bench as the command line says and print its JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.many", description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    folder = kinds.add_parser("folder")
    folder.add_argument("--recordings", type=int, default=12)
    folder.add_argument("--size-kb", type=int, default=300)
    manifest = kinds.add_parser("manifest")
    manifest.add_argument("--jobs", type=int, default=100_000)
    manifest.add_argument("--rounds", type=int, default=5)
    for kind in (folder, manifest):
        kind.add_argument("--seed", type=int, default=1)
        kind.add_argument("--json", type=Path, metavar="FILE", help="also keep it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many-") as scratch:
        if options.kind == "folder":
            result = through_the_limit(Path(scratch), options.recordings, options.size_kb * 1000, options.seed)
        else:
            result = beside_old_jobs(Path(scratch), options.jobs, options.rounds, options.seed)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.json:
        used = ("recordings", "size_kb") if options.kind == "folder" else ("jobs", "rounds")
        words = [f"--{name.replace('_', '-')} {getattr(options, name)}" for name in used]
        keep(options.json, " ".join(["python -m bench.many", options.kind, *words]), result)


if __name__ == "__main__":
    main()

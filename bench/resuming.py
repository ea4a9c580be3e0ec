"""What a killed upload costs: the bytes that are sent again, and the time until new ones are on their way.

    python -m bench.resuming --size-mib 200 --kills 10 --json bench/results/resuming.json

`speechstream send` is killed (SIGKILL) at times drawn from a seed and started again, over the fault proxy, which caps
the rate and counts what passes. In the end everything above the file's size was sent again, or is heads of requests.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy

from .contestants import COMMAND
from .loopback import payload
from .places import KEY, PLACES, Ground
from .record import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE_BYTES_S: Final = 10e6
DELAY_S: Final = 0.02
MOVING_BYTES: Final = 64 << 10  # more than the heads of what is asked first
GLANCE_S: Final = 0.005
STILL_S: Final = 0.5


@dataclass(slots=True)
class Upload:
    """One upload, over as many processes as it takes."""

    proxy: FaultProxy
    command: Sequence[str]
    environment: dict[str, str]

    def run(self, for_s: float | None) -> float:
        """Run it until bytes have moved for so long, then kill it; or to its end. Returns when they began to move."""
        self._settle()
        before, started_s = self.proxy.bytes_from_clients, time.monotonic()
        with subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            while process.poll() is None and self.proxy.bytes_from_clients < before + MOVING_BYTES:
                time.sleep(GLANCE_S)
            moving_s = time.monotonic() - started_s
            if for_s is not None:
                time.sleep(for_s)
                process.kill()
            assert process.stderr is not None
            said = process.stderr.read().decode()
        if for_s is None and process.returncode:
            sys.exit(f"the upload failed: {said[-500:]}")
        return moving_s

    def _settle(self) -> None:
        """Wait until nothing comes any more of what the last process has left in the buffers."""
        before = -1
        while (now := self.proxy.bytes_from_clients) != before:
            before = now
            time.sleep(STILL_S)


def measure(ground: Ground, size_mib: int, kills: int, seed: int) -> dict[str, object]:
    """Kill one upload so many times, and let it end."""
    chance, file = random.Random(seed), ground.scratch / "payload"
    size_bytes = payload(file, size_mib, sparse=False)
    most_s = 1.5 * size_bytes / RATE_BYTES_S / (kills + 1)
    service = next(place for place in PLACES if place.name == "own service")
    plan = Plan(otherwise=Fault(delay_s=DELAY_S), common_rate_bytes_per_s=RATE_BYTES_S)
    with service.open(ground) as opened:
        host, _, rest = opened.creation_url.removeprefix("http://").partition(":")
        port, _, path = rest.partition("/")
        with FaultProxy(host, int(port), plan) as proxy:
            url = f"http://{host}:{proxy.port}/{path}"
            header = f"Authorization: Bearer {KEY}"
            command = [str(COMMAND), "send", str(file), "--to", url, "--header", header, "--progress", "none"]
            upload = Upload(proxy, command, ground.environment(SPEECHSTREAM_STATE_DIR=str(ground.folder())))
            moving_s = [upload.run(chance.uniform(0, most_s)) for _ in range(kills)]
            moving_s.append(upload.run(None))
            again_bytes = proxy.bytes_up - size_bytes
    return {
        "size_bytes": size_bytes,
        "kills": kills,
        "rate_bytes_s": RATE_BYTES_S,
        "rtt_s": 2 * DELAY_S,
        "again_bytes": again_bytes,
        "again_bytes_a_kill": round(again_bytes / max(1, kills)),
        "first_start_s": moving_s[0],
        "restarts_s": moving_s[1:],
        "restart_s": statistics.median(moving_s[1:]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep every figure there")
    options = parser.parse_args()
    if options.kills < 1:
        parser.error("--kills must be 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Ground(Path(folder), None), options.size_mib, options.kills, options.seed)
    for name, value in found.items():
        print(f"{name}: {value}")
    if options.json:
        words = f"--size-mib {options.size_mib} --kills {options.kills} --seed {options.seed}"
        keep(options.json, f"python -m bench.resuming {words}", found)


if __name__ == "__main__":
    main()

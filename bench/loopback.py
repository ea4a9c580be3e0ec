"""What client and service cost when the link costs nothing, beside programs that nobody here wrote.

Every contestant sends the same file to every place, in turn, several rounds. Places: a sink that throws bytes away as
fast as the kernel can, the service built in, and `@tus/server`; the first and the last also over TLS, with an authority
made for the run. Contestants: `speechstream send`, bare httpx, curl in one PATCH, tus-js-client. What is not installed
is left out: `.ci/peers DIR` installs the npm packages, `--peers DIR` says where.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .contestants import CONTESTANTS, Cost, start_up_s
from .places import PLACES, Ground, Peers
from .record import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
OURS = "speechstream send"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one contestant needed for one place: medians, and the highest peak."""

    place: str
    contestant: str
    size_bytes: int
    mb_s: float
    cpu_s_a_gb: float
    server_cpu_s_a_gb: float
    peak_mib: float
    runs: tuple[Cost, ...]

    @classmethod
    def of(cls, place: str, contestant: str, size_bytes: int, runs: Sequence[Cost]) -> Figure:
        """Sum up the runs."""
        gb = size_bytes / 1e9
        return cls(
            place,
            contestant,
            size_bytes,
            gb * 1000 / statistics.median(run.seconds for run in runs),
            statistics.median(run.cpu_s for run in runs) / gb,
            statistics.median(run.server_cpu_s for run in runs) / gb,
            max(run.peak_kib for run in runs) / 1024,
            tuple(runs),
        )


def payload(file: Path, size_mib: int, *, sparse: bool) -> int:
    """Write the same bytes for the same size, no two blocks of them alike; or none, for zeros that take no disk.

    Returns the size in bytes.
    """
    block = random.Random(1).randbytes(MIB)
    with file.open("wb") as out:
        if sparse:
            out.truncate(size_mib * MIB)
            return size_mib * MIB
        for number in range(size_mib):
            out.write(number.to_bytes(8, "big") + block[8:])
    return size_mib * MIB


def measure(options: argparse.Namespace, ground: Ground, file: Path, size_bytes: int) -> list[Figure]:
    """Have every contestant send the file to every place, `options.rounds` times."""
    places = [place for place in PLACES if options.only in place.name and place.is_here(ground)]
    here = [one for one in CONTESTANTS if one.is_here(ground) and (not options.ours or one.name == OURS)]
    runs: dict[tuple[str, str], list[Cost]] = {(place.name, one.name): [] for place in places for one in here}
    for number in range(options.rounds):
        turn = number % len(here)
        for place in places:
            for contestant in here[turn:] + here[:turn]:
                os.sync()  # nobody waits for what the one before him wrote
                with place.open(ground) as opened:
                    cost = contestant.send(ground, opened, file)
                runs[place.name, contestant.name].append(cost)
                rate = size_bytes / 1e6 / cost.seconds
                print(f"round {number + 1}: {place.name}: {contestant.name}: {rate:.0f} MB/s", file=sys.stderr)
    return [Figure.of(place, contestant, size_bytes, costs) for (place, contestant), costs in runs.items()]


def table(figures: Sequence[Figure]) -> str:
    """The figures, and how many times each rate ours is."""
    lines = [
        f"{'place':18} {'contestant':18} {'MB/s':>6} {'CPU s/GB':>9} {'server':>7} {'peak MiB':>9} {'ours / its':>11}"
    ]
    ours = {figure.place: figure.mb_s for figure in figures if figure.contestant == OURS}
    for figure in figures:
        ratio = f"{ours[figure.place] / figure.mb_s:11.2f}" if figure.place in ours else ""
        lines.append(
            f"{figure.place:18} {figure.contestant:18} {figure.mb_s:6.0f} {figure.cpu_s_a_gb:9.2f} "
            f"{figure.server_cpu_s_a_gb:7.2f} {figure.peak_mib:9.0f} {ratio}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=Path("build/peers"), help="where `.ci/peers` installed them")
    parser.add_argument("--only", default="", metavar="WORD", help="only places with this in their names")
    parser.add_argument("--ours", action="store_true", help="only our own client")
    parser.add_argument("--sparse", action="store_true", help="zeros that take no disk: for sizes beyond it")
    parser.add_argument("--start-up", type=int, default=5, metavar="RUNS", help="runs of the start-up measurement")
    parser.add_argument("--scratch", type=Path, help="where the servers' data lies (a folder of the system's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.scratch)))
        ground = Ground(scratch, Peers.found(options.peers, scratch))
        file = scratch / "payload"
        size_bytes = payload(file, options.size_mib, sparse=options.sparse)
        starts = [start_up_s(ground, file) for _ in range(options.start_up)]
        figures = measure(options, ground, file, size_bytes)
    print(
        f"{options.size_mib} MiB, medians of {options.rounds}, {platform.machine()}, Python {platform.python_version()}"
    )
    print(table(figures))
    if starts:
        print(f"from the start of the process to the file's first byte at the sink: {statistics.median(starts):.3f} s")
    if options.json:
        sparse = " --sparse" if options.sparse else ""
        command = f"python -m bench.loopback --size-mib {options.size_mib} --rounds {options.rounds}{sparse}"
        keep(options.json, command, {"figures": [asdict(figure) for figure in figures], "start_up_s": starts})


if __name__ == "__main__":
    main()

"""Tries everything at once: scenarios drawn from seeds, each driven by the real command and judged.

    python -m tests.faults.chaos --seeds 1000 --jobs 2
    python -m tests.faults.chaos --seed 17
    python -m tests.faults.chaos --hundred --fresh 10
    python -m tests.faults.chaos --seeds 1000 --write docs/reliability.md

One JSON line a scenario goes to stdout, the table and every failure to stderr. What failed keeps its folder and tells
the command that replays it. Exits with 1 when anything did.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.chaos.hundred import HUNDRED
from tests.faults.chaos.ledger import Outcome, page, table
from tests.faults.chaos.scenario import draw
from tests.faults.chaos.trial import try_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def outcomes(seeds: Sequence[int], jobs: int, folder: Path) -> Iterator[Outcome]:
    """Try all seeds, so many at a time; outcomes come as they are known."""
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(try_out, seed, folder) for seed in seeds]):
            yield done.result()


def _seeds(options: argparse.Namespace) -> Sequence[int]:
    if options.seed is not None:
        sys.stderr.write(f"{draw(options.seed)}\n")
        return [options.seed]
    seeds = HUNDRED if options.hundred else tuple(range(options.first, options.first + options.seeds))
    fresh = random.SystemRandom().sample(range(1_000_000, 1_000_000_000), options.fresh)
    if fresh:
        sys.stderr.write(f"fresh seeds: {' '.join(map(str, fresh))}\n")
    return (*seeds, *fresh)


def main() -> int:
    """Try what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds are tried")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, telling what it is")
    parser.add_argument("--hundred", action="store_true", help="the same quick hundred each time, which have it all")
    parser.add_argument("--fresh", type=int, default=0, help="so many besides that nobody tried before")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--keep", type=Path, default=Path("build/chaos"), help="where what failed is kept")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    options = parser.parse_args()
    seeds = _seeds(options)
    options.keep.mkdir(parents=True, exist_ok=True)
    known, began_s = [], time.monotonic()
    for outcome in outcomes(seeds, options.jobs, options.keep.absolute()):
        known.append(outcome)
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
        if outcome.complaints:
            sys.stderr.write(outcome.told())
    sys.stderr.write(table(known, time.monotonic() - began_s))
    if options.write is not None:
        options.write.write_text(page(options.write.read_text(), known, seeds, time.monotonic() - began_s))
    return int(any(outcome.complaints for outcome in known))


if __name__ == "__main__":
    sys.exit(main())

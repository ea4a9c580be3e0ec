"""What the control of the number of lanes makes of links that are only arithmetic, beside the best fixed number there.

    python -m bench.controller --links 1000 --json bench/results/controller.json

Pure: the links and the traffic on them come from seeds, and no socket is opened, so the same code finds the same.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path
from typing import Final

from engine.core.control import LaneControl
from tests.engine.core.links import controlled, fixed, some_link

from .record import keep

COUNTS: Final = (1, 2, 4, 8, 16, 32)
SECONDS: Final = 30.0  # or a hundred round trips; the beginning counts
ROUND_TRIPS: Final = 100
LANES: Final = "lanes in the end"


def shares(seed: int) -> dict[str, float]:
    """What the control moves over one link, and what each fixed number of lanes does, beside the best of these."""
    link = some_link(random.Random(seed))
    seconds = max(SECONDS, ROUND_TRIPS * link.rtt_s)
    rates = {str(count): fixed(link, count, seconds, seed) for count in COUNTS}
    best = max(rates.values())
    control = LaneControl()
    rates["control"] = controlled(link, seconds, seed, control)
    return {name: rate / best for name, rate in rates.items()} | {LANES: control.lanes}


def main() -> None:
    """Print what the links have in common, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    found = [shares(seed) for seed in range(options.links)]
    figures = []
    for name in ("control", *map(str, COUNTS)):
        ordered = sorted(share[name] for share in found)
        percentiles = [ordered[min(len(ordered) - 1, len(ordered) * part // 100)] for part in range(0, 101, 5)]
        figure = {
            "lanes": name,
            "mean": statistics.mean(ordered),
            "median": statistics.median(ordered),
            "worst": ordered[0],
            "percentiles": percentiles,
            "mean_lanes": statistics.mean(share[LANES] for share in found) if name == "control" else int(name),
        }
        figures.append(figure)
        print(f"{name:>8}: mean {figure['mean']:.3f}, median {figure['median']:.3f}, worst {figure['worst']:.3f}")
    if options.json:
        command = f"python -m bench.controller --links {options.links}"
        keep(options.json, command, {"links": options.links, "figures": figures})


if __name__ == "__main__":
    main()

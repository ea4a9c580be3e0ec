"""What a polite upload does to lines that are only arithmetic, beside one ordinary connection on each.

    python -m bench.politeness --lines 1000 --json bench/results/politeness.json

Pure: lines come from seeds and no socket is opened, so the same code finds the same. Every line is idle, and has a
drop-tail queue of 0.1 to 2 seconds before it; the beginning counts.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path
from typing import Final

from tests.engine.core.lines import Line, ordinary, some_line

from .record import keep

SECONDS: Final = 40.0
SETTLED_S: Final = 30.0


def seen(line: Line) -> dict[str, float]:
    """What happens on a line: delays in seconds, and the part of it that is used in the end."""
    line.run(SECONDS)
    return {
        "most delay, s": line.delay_s(0, SECONDS, 1.0),
        "delay for 95 % of the time at most, s": line.delay_s(0, SECONDS),
        "share of the line in the end": sum(line.share(SETTLED_S, SECONDS)),
    }


def main() -> None:
    """Print what the lines have in common, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    polite, alone, ratios = [], [], []
    for seed in range(options.lines):
        line = some_line(random.Random(seed))
        one = ordinary(line)
        polite.append(seen(line))
        alone.append(seen(one))
        ratios.append((line.base_s + polite[-1]["most delay, s"]) / (line.base_s + one.delay_s(0, SECONDS, 0.5)))
    figures = []
    for name, found in (("polite", polite), ("one ordinary connection", alone)):
        for what in found[0]:
            values = sorted(each[what] for each in found)
            best, worst = (values[-1], values[0]) if what.startswith("share") else (values[0], values[-1])
            figure = {"who": name, "what": what, "median": statistics.median(values), "best": best, "worst": worst}
            figures.append(figure)
            print(f"{name}: {what}: median {figure['median']:.3f}, best {best:.3f}, worst {worst:.3f}")
    print(f"longest round trip when polite / usual round trip of one ordinary connection: at most {max(ratios):.2f}")
    if options.json:
        found_all = {"lines": options.lines, "figures": figures, "worst_round_trip_ratio": max(ratios)}
        keep(options.json, f"python -m bench.politeness --lines {options.lines}", found_all)


if __name__ == "__main__":
    main()

"""What came of many scenarios, counted and told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGINS: Final = "<!-- chaos begins -->"
ENDS: Final = "<!-- chaos ends -->"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scenario; all of it goes through JSON.

    Attributes:
        scenario: the scenario in one line.
        complaints: what was wrong; nothing when all was right.
        injected: what was done to it, by name.
        blows: the signals that hit a client, and what it was doing.
        runs: how often the command was run, the repetition included.
        again_bytes: what went up beyond the recording's own bytes, headers included.
        allowed_bytes: how much of that there might have been.
    """

    seed: int
    scenario: str
    complaints: list[str]
    injected: dict[str, int]
    blows: list[tuple[str, str]]
    runs: int
    size_bytes: int
    again_bytes: int
    allowed_bytes: int
    seconds: float

    def told(self) -> str:
        """The failure, and how to repeat it."""
        wrong = "".join(f"  FAIL {complaint}\n" for complaint in self.complaints)
        return f"{self.scenario}\n{wrong}  again: python -m tests.faults.chaos --seed {self.seed}\n"


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The ledger as text for a terminal."""
    return "".join(f"{' | '.join(row)}\n" for row in rows(outcomes)) + f"{summary(outcomes, seconds)}\n"


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str, str]]:
    """What was done, how often, in how many scenarios, and in how many of them everything was right."""
    times, scenarios, right = Counter[str](), Counter[str](), Counter[str]()
    for outcome in outcomes:
        done = Counter(outcome.injected)
        done.update(f"client {signal} while {phase}" for signal, phase in outcome.blows)
        times.update(done)
        scenarios.update(done.keys())
        if not outcome.complaints:
            right.update(done.keys())
    return [(name, f"{times[name]:,}", f"{scenarios[name]:,}", f"{right[name]:,}") for name in sorted(times)]


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """All scenarios in a few sentences."""
    right = sum(not outcome.complaints for outcome in outcomes)
    size_bytes = sum(outcome.size_bytes for outcome in outcomes)
    again_bytes = sum(max(0, outcome.again_bytes) for outcome in outcomes)
    return (
        f"{right:,} of {len(outcomes):,} scenarios right in {seconds / 60:.0f} minutes"
        f" ({mean(outcome.seconds for outcome in outcomes):.1f} s each). "
        f"The command ran {sum(outcome.runs for outcome in outcomes):,} times"
        f" and carried {size_bytes / 1e9:.2f} GB; {again_bytes / max(size_bytes, 1):.1%} of it went again."
    )


def page(text: str, outcomes: Sequence[Outcome], seeds: Sequence[int], seconds: float) -> str:
    """A page with the ledger between its two marks."""
    head, _, rest = text.partition(BEGINS)
    _, _, tail = rest.partition(ENDS)
    lines = ["| what was done | times | scenarios | of them right |", "|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(outcomes)]
    command = f"python -m tests.faults.chaos --first {seeds[0]} --seeds {len(seeds)}"
    told = f"`{command}`: {summary(outcomes, seconds)}"
    return f"{head}{BEGINS}\n{told}\n\n" + "\n".join(lines) + f"\n{ENDS}{tail}"

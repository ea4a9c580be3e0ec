from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.chaos import trial
from tests.faults.chaos.judge import Complaint
from tests.faults.chaos.ledger import BEGINS, ENDS, Outcome, page, table
from tests.faults.chaos.scenario import draw
from tests.faults.chaos.trial import try_out

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[3]


@functools.cache
def quick() -> int:
    """The first seed whose scenario is small and undisturbed."""
    return next(seed for seed in itertools.count(1) if str(draw(seed)).endswith(" B by tus in 4 | 1: calm"))


def outcome(seed: int, *complaints: str) -> Outcome:
    return Outcome(
        seed=seed,
        scenario=f"seed {seed}: upload",
        complaints=list(complaints),
        injected={"storm": 2},
        blows=[("SIGKILL", "sending")],
        runs=3,
        size_bytes=1000,
        again_bytes=100,
        allowed_bytes=200,
        seconds=3.0,
    )


def test_a_seed_is_tried_out(tmp_path: Path) -> None:
    """From nothing but its number a scenario is driven with real processes, judged, and leaves nothing."""
    done = try_out(quick(), tmp_path)

    assert done.complaints == []
    assert done.runs == 2
    assert list(tmp_path.iterdir()) == []


def test_what_failed_is_kept_and_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure leaves the logs of all processes, and names the command that repeats it."""
    monkeypatch.setattr(trial, "judged", lambda _: [Complaint("the bytes are equal", "they are not")])
    done = try_out(quick(), tmp_path)
    kept = tmp_path / str(quick())

    assert f"python -m tests.faults.chaos --seed {quick()}" in done.told()
    assert {"outcome.json", "run-1.log", "run-2.log", "service.log", "state"} == {path.name for path in kept.iterdir()}
    assert json.loads((kept / "outcome.json").read_text())["complaints"] == ["the bytes are equal: they are not"]


def test_the_program_tries_seeds_and_counts(tmp_path: Path) -> None:
    """As a program it prints one JSON line a seed, then the ledger, and its exit status says whether all was right."""
    command = [sys.executable, "-m", "tests.faults.chaos", "--seed", str(quick()), "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seed"] == quick()
    assert "1 of 1 scenarios right" in done.stderr


def test_the_ledger_counts_what_was_done_and_what_was_right() -> None:
    """Each kind of fault has its number, the scenarios that had it, and those of them that went well."""
    told = table([outcome(1), outcome(2, "the bytes are equal: no")], 60.0)

    assert "storm | 4 | 2 | 1" in told
    assert "client SIGKILL while sending | 2 | 2 | 1" in told
    assert "1 of 2 scenarios right in 1 minutes" in told


def test_a_page_gets_the_ledger_between_its_marks() -> None:
    """What stands around the marks stays; the same table again changes nothing."""
    empty = f"# Reliability\n\n{BEGINS}\n{ENDS}\n\nThe end.\n"
    once = page(empty, [outcome(1)], [1], 60.0)

    assert once.startswith("# Reliability\n\n")
    assert once.endswith("\n\nThe end.\n")
    assert "| storm | 2 | 1 | 1 |" in once
    assert "`python -m tests.faults.chaos --first 1 --seeds 1`" in once
    assert page(once, [outcome(1)], [1], 60.0) == once


def test_an_outcome_goes_through_json() -> None:
    """What is printed of a scenario is all there is to know of it."""
    assert Outcome(**json.loads(json.dumps(asdict(outcome(3))))).injected == {"storm": 2}

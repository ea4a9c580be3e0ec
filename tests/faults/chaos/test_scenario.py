from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.chaos.hundred import HUNDRED
from tests.faults.chaos.scenario import Scenario, draw
from tests.faults.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
FIVE_HUNDRED = range(1, 501)


@functools.cache
def drawn(seeds: Sequence[int]) -> list[Scenario]:
    """The scenarios of some seeds."""
    return [draw(seed) for seed in seeds]


def test_a_seed_means_the_same_everywhere() -> None:
    """Another process, with another hash seed, draws the same scenarios from the same seeds."""
    program = "from tests.faults.chaos.scenario import draw; print(*map(draw, range(1, 30)), sep='\\n')"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert told.stdout.splitlines() == [str(scenario) for scenario in drawn(FIVE_HUNDRED)[:29]]


def test_a_scenario_is_told_in_one_line() -> None:
    """The line tells scenarios apart, seeds aside."""
    lines = [str(scenario) for scenario in drawn(FIVE_HUNDRED)]

    assert not any("\n" in line for line in lines)
    assert len({line.partition(":")[2] for line in lines}) == len(FIVE_HUNDRED)


@pytest.mark.parametrize("seeds", [FIVE_HUNDRED, tuple(HUNDRED)], ids=["five hundred", "the hundred"])
def test_everything_is_drawn(seeds: Sequence[int]) -> None:
    """Some seed has each command, wire, source, signal, edit, spell and fault; so has one of the hundred of CI."""
    scenarios = drawn(seeds)
    lives = [life for scenario in scenarios for life in scenario.lives]
    faults = [life.plan.otherwise for life in lives]

    assert {scenario.command for scenario in scenarios} == {"upload", "transcribe", "send"}
    assert {scenario.wire for scenario in scenarios} == {"auto", "tus", "single"}
    assert {scenario.source for scenario in scenarios} == {"file", "pipe", "followed"}
    assert {1, 2, 4, 8} <= {scenario.lanes for scenario in scenarios}
    assert {scenario.checksum for scenario in scenarios} == {True, False}
    assert {scenario.background for scenario in scenarios} == {True, False}
    assert {life.blow.signal for life in lives if life.blow} == {"SIGKILL", "SIGTERM", "SIGINT"}
    assert {life.restart.signal for life in lives if life.restart} == {"SIGKILL", "SIGTERM"}
    assert {life.edit for life in lives} == {None, "in place", "grown", "shrunk", "touched", "moved"}
    assert {spell.kind for life in lives for spell in life.spells} == {"outage", "rebinding", "storm", "reset"}
    assert {fault.black_hole_way for fault in faults} == {"both", "up", "down"}
    for name in Fault.__dataclass_fields__:
        if name not in {"cut_up_between_bytes", "cut_after_s", "cut_within_s"}:  # drawn outright, or by storms
            assert any(getattr(fault, name) != getattr(Fault(), name) for fault in faults), name
    assert any(jump.boot_s for life in lives for jump in life.jumps)
    assert any(jump.wall_s < 0 for life in lives for jump in life.jumps)


def test_sizes_lie_around_what_is_cut_at() -> None:
    """Nothing, the edges of parts, and those of lanes."""
    sizes = {scenario.size_bytes for scenario in drawn(FIVE_HUNDRED)}

    assert {0, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (4 << 20) - 1} <= sizes


def test_what_would_only_wait_is_not_drawn() -> None:
    """A life after which the recording is edited ends before its time, and nothing is dead for ever."""

    def edited_in_peace(scenario: Scenario) -> bool:
        return any(life.edit is not None and life.blow is None for life in scenario.lives)

    faults = [life.plan.otherwise for scenario in drawn(FIVE_HUNDRED) for life in scenario.lives]

    assert not any(edited_in_peace(scenario) for scenario in drawn(FIVE_HUNDRED))
    assert not any(fault.black_hole_after_bytes is not None and fault.black_hole_for_s is None for fault in faults)

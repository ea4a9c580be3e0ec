"""How fast jobs may send, as a person says it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.model import JobState
from engine.runtime.manifest import Manifest
from tests.engine.cli.test_command import told
from tests.engine.world import JOB

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Shell


@pytest.fixture
def jobs(shell: Shell) -> tuple[str, str, str]:
    """Two jobs on their way and one at its end."""
    with Manifest(shell.home / "state") as manifest:
        for number, name in enumerate(("first1", "second", "ended1")):
            manifest.find_or_add(replace(JOB, id=name, idempotency_key=name, created_at=float(number)), new=True)
        manifest.move("ended1", JobState.CANCELLED)
    return "first1", "second", "ended1"


def limits(shell: Shell) -> list[int | None]:
    """Each job's own limit, as `jobs --json` has it."""
    return [json.loads(line)["limit_bytes_s"] for line in shell.run("jobs", "--json").stdout.splitlines()]


def test_a_limit_stays_with_the_job_until_it_is_taken_away(shell: Shell, jobs: tuple[str, str, str]) -> None:
    """A rate, off, and default, for one job, for several, and for all that are not at their end."""
    assert limits(shell) == [None, None, None]
    done = shell.run("limit", jobs[0], "500kB/s")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "job first1 sends at most 500.0 kB/s\n")
    assert limits(shell) == [500_000, None, None]
    done = shell.run("limit", *jobs[:2], "off", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"job_id": "first1", "limit_bytes_s": 0}, {"job_id": "second", "limit_bytes_s": 0}
    ]  # fmt: skip
    assert shell.run("limit", "--all", "8Mbit/s").returncode == 0
    assert limits(shell) == [1_000_000, 1_000_000, None]
    assert shell.run("limit", "--all", "default").returncode == 0
    assert limits(shell) == [None, None, None]


def test_what_cannot_be_limited(shell: Shell, jobs: tuple[str, str, str]) -> None:
    """A job at its end sends nothing; and of several jobs none is changed when one cannot be."""
    done = shell.run("limit", jobs[0], jobs[2], "1MB/s")
    assert done.returncode == 1
    assert told(done.stderr)[0] == "Job ended1 is cancelled: there is nothing to limit"
    assert "'nobody'" in told(shell.run("limit", jobs[0], "nobody", "1MB/s").stderr)[0]
    assert limits(shell) == [None, None, None]


@pytest.mark.parametrize(
    "words", [("first1", "fast"), ("first1", "500"), ("first1", "10B/s"), ("1MB/s",), ("--all", "first1", "1MB/s")]
)
def test_a_limit_typed_wrong(shell: Shell, jobs: tuple[str, str, str], words: tuple[str, ...]) -> None:
    """Exit 1 with the usage, and nothing is changed."""
    done = shell.run("limit", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Usage: speechstream limit" in done.stderr
    assert limits(shell) == [None] * len(jobs)

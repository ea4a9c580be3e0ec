"""What `show` says of a job: to a person in words, to a program in plain units."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from engine.model import Tally
from engine.runtime.manifest import Manifest
from tests.engine.world import JOB

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Shell


@pytest.fixture
def job(shell: Shell) -> str:
    """A job that has sent something, under a limit of its own."""
    with Manifest(shell.home / "state") as manifest:
        manifest.find_or_add(JOB, new=True)
        manifest.note(JOB.id, limit_bytes_s=500_000)
        manifest.add_to_tally(JOB.id, Tally(sent_bytes=12_300_000, retries=2, waited_s=0.0, sending_s=4000.04))
    return JOB.id


def shown(shell: Shell, job: str) -> dict[str, str]:
    """The lines of `show`: what stands before the gap, and what behind it."""
    lines = shell.run("show", job).stdout.splitlines()
    return {line[:18].strip(): line[18:].strip() for line in lines}


def test_a_person_reads_sizes_rates_and_times(shell: Shell, job: str) -> None:
    """No one has to count digits: each value has its unit."""
    facts = shown(shell, job)
    assert facts["sent"] == "12.3 MB"
    assert facts["sending"] == "67 min"
    assert facts["waited"] == "0.0 s"
    assert facts["retries"] == "2"
    assert facts["limit"] == "500.0 kB/s"
    assert not [name for name in facts if name.endswith((" s", " bytes"))], "units stand with the values"


def test_no_limit_is_not_a_limit_of_nothing(shell: Shell, job: str) -> None:
    """`limit JOB off` is kept as 0, which read as a rate would mean that nothing is sent."""
    assert shell.run("limit", job, "off").returncode == 0
    assert shown(shell, job)["limit"] == "none"
    assert shell.run("limit", job, "default").returncode == 0
    assert "limit" not in shown(shell, job)


def test_a_program_reads_plain_numbers(shell: Shell, job: str) -> None:
    """The same facts in JSON keep their unit in the name, and all their digits."""
    facts = json.loads(shell.run("show", job, "--json").stdout)
    assert (facts["sent_bytes"], facts["sending_s"], facts["limit_bytes_s"]) == (12_300_000, 4000.04, 500_000)

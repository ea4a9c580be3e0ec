"""`speechstream send` delivers to tus servers that nobody here wrote, whatever happens on the way."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from engine.core.plan import DIVISIBLE_BYTES
from tests.faults.command import Command, environment
from tests.faults.plan import Fault, Plan
from tests.interop.servers import (
    NO_FAULT,
    Kill,
    Outcome,
    Scenario,
    Server,
    cells,
    outcome,
    sent_again_max_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Strangers, Way

pytestmark = pytest.mark.interop

PATIENCE_S = 60.0


def sending(recording: Path, creation_url: str, *options: str) -> Command:
    """The command with a state folder beside the recording, and a service that must not be asked."""
    words = ("send", str(recording), "--to", creation_url, "-v", *options)
    return Command(words, environment(recording.parent / "state", "http://127.0.0.1:9/v1"))


def half_way(way: Way, size_bytes: int) -> None:
    """Wait until half of the recording has passed, slowly enough to be caught."""
    until = time.monotonic() + PATIENCE_S
    while way.line.bytes_up < size_bytes // 2 and time.monotonic() < until:
        time.sleep(0.01)


def deliver(way: Way, recording: Path, scenario: Scenario) -> tuple[int, str, str]:
    """Run the command through what the scenario does to it; gives the last run's code and words."""
    if scenario.kill is not Kill.NOBODY:
        way.line.plan = Plan(otherwise=Fault(rate_bytes_per_s=scenario.size_bytes))
    elif scenario.fault != NO_FAULT:
        way.line.plan = Plan(otherwise=scenario.fault, at_most=1)
    with sending(recording, way.creation_url, *scenario.options) as command:
        if scenario.kill is not Kill.NOBODY:
            half_way(way, scenario.size_bytes)
        if scenario.kill is Kill.SERVER:
            way.kill_server()
        if scenario.kill not in {Kill.CLIENT, Kill.UNHEARD}:
            code, printed = command.finish()
            return code, printed.strip(), "".join(command.complaints)
        if scenario.kill is Kill.UNHEARD:
            way.lose_connections()
        assert command.kill() == -9
    way.line.plan = Plan()
    with sending(recording, way.creation_url, *scenario.options) as command:
        code, printed = command.finish()
        return code, printed.strip(), "".join(command.complaints)


@pytest.mark.parametrize(
    ("server", "scenario"),
    [pytest.param(server, scenario, id=f"{server.id}-{scenario.id}") for server, scenario in cells()],
)
def test_send(strangers: Strangers, tmp_path: Path, server: Server, scenario: Scenario) -> None:
    """The right bytes lie under the printed URL, little went twice, and a repetition sends nothing."""
    recording = tmp_path / "recording.bin"
    recording.write_bytes(random.Random(scenario.id).randbytes(scenario.size_bytes))
    with strangers.way_to(server) as way:
        code, url, said = deliver(way, recording, scenario)

        if outcome(server, scenario) is Outcome.REFUSED:
            assert (code, url, way.line.count) == (1, "", 0)
            return
        assert code == 0, said
        compared = "--checksum" in scenario.options  # it was tried: this server does look at them
        assert ("verified by server" in said, "length only" in said) == (compared, not compared)
        assert ("joining" in said) is (server.joins and scenario.size_bytes >= DIVISIBLE_BYTES)
        up_bytes, connections = way.line.bytes_up, way.line.count
        if outcome(server, scenario) is not Outcome.UNPROVED:
            assert way.stored(url) == recording.read_bytes()
            assert up_bytes - scenario.size_bytes <= sent_again_max_bytes(server, scenario)
        if scenario.fault != NO_FAULT:
            assert any(connection.struck for connection in way.line.connections)
        assert deliver(way, recording, Scenario("again", "", 0, options=scenario.options))[:2] == (0, url)
        assert (way.line.bytes_up, way.line.count) == (up_bytes, connections)

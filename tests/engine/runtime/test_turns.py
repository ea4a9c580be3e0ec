from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from engine.events import Waiting
from engine.faults import Interrupted, Offline, Throttled, Unreachable
from engine.runtime.manifest import Manifest
from engine.runtime.turns import Turns, account_of

if TYPE_CHECKING:
    from pathlib import Path

    from engine.faults import Fault
    from tests.engine.world import Events, FakeClock

pytestmark = pytest.mark.anyio


async def test_the_sixth_upload_waits_for_its_turn_across_processes(
    state: Path, clock: FakeClock, told: Events
) -> None:
    """Two processes share one key: of six uploads at once, whoever comes last waits a minute, and says why."""
    went: list[float] = []
    with Manifest(state) as one, Manifest(state) as other:

        async def upload(number: int) -> None:
            turns = Turns(one if number % 2 else other, clock, told.append, "account")
            async with turns.upload(f"job-{number}"):
                went.append(clock.now_s)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(upload, number)
    assert went[:5] == [1000.0] * 5
    assert 1060.0 <= went[5] <= 1061.0
    assert [event.reason for event in told.of(Waiting) if isinstance(event, Waiting)] == [
        "the service takes 5 uploads a minute; waiting for a turn"
    ]


async def test_another_key_has_turns_of_its_own(manifest: Manifest, clock: FakeClock, told: Events) -> None:
    """The limit is the account's, not the machine's."""
    for account in ("a", "b"):
        for number in range(5):
            async with Turns(manifest, clock, told.append, account).upload(str(number)):
                pass
    assert clock.slept_s == []


@pytest.mark.parametrize("fault", [Unreachable("no server"), Offline("no network")])
async def test_a_call_that_never_left_costs_no_turn(
    manifest: Manifest, clock: FakeClock, told: Events, fault: Fault
) -> None:
    """Knocking at a closed door a hundred times leaves all five turns."""
    turns = Turns(manifest, clock, told.append, "account")
    for _ in range(100):
        with pytest.raises(type(fault)):
            async with turns.upload("job"):
                raise fault
    assert clock.slept_s == []


@pytest.mark.parametrize("fault", [Interrupted("cut", sent_all=True), Throttled("429")])
async def test_a_call_that_may_have_arrived_costs_one(
    manifest: Manifest, clock: FakeClock, told: Events, fault: Fault
) -> None:
    """What the server may have counted, we count, and from the moment it failed."""
    turns = Turns(manifest, clock, told.append, "account")
    went: list[float] = []

    async def call() -> None:
        async with turns.upload("job"):
            went.append(clock.now_s)
            await clock.sleep(10.0)
            raise fault

    for _ in range(6):
        with pytest.raises(type(fault)):
            await call()
    assert went[:5] == pytest.approx([1000.0, 1010.0, 1020.0, 1030.0, 1040.0])
    assert went[5] >= 1070.0


async def test_a_turn_counts_from_the_reply(manifest: Manifest, clock: FakeClock, told: Events) -> None:
    """A status call that took four seconds on its way is followed by five seconds of silence, not one."""
    turns = Turns(manifest, clock, told.append, "account")
    async with turns.status("job", "id-1"):
        await clock.sleep(4.0)
    async with turns.status("job", "id-1"):
        assert clock.now_s >= 1009.0
    async with turns.status("job", "id-2"):  # another id has turns of its own
        assert clock.now_s < 1010.0
    assert told.of(Waiting) == []  # polling is waiting anyway


def test_an_account_tells_nothing_of_its_key() -> None:
    """It is stored, so it must not be a key; and two keys must not share turns."""
    name = account_of("https://speech.example/v1", "sk-secret-key")
    assert "secret" not in name
    assert name != account_of("https://speech.example/v1", "sk-secret-kez")
    assert name != account_of("https://other.example/v1", "sk-secret-key")
    assert name == account_of("https://speech.example/v1", "sk-secret-key")


async def test_a_clock_that_was_set_back_costs_one_window_and_no_more(
    manifest: Manifest, clock: FakeClock, told: Events
) -> None:
    """Turns taken a day from now count as taken now, once: the wait is the limit's own, not a day, not without end."""
    turns = Turns(manifest, clock, told.append, "account")
    clock.now_s += 86_400.0
    for _ in range(5):
        async with turns.upload("job"):
            pass
    clock.now_s = began_s = 1000.0
    async with turns.upload("job"):
        pass
    assert 60.0 <= clock.now_s - began_s <= 61.0
    assert len(clock.slept_s) == 1

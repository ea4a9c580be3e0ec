from __future__ import annotations

import pytest

from engine.core.retry import RetryPolicy
from engine.errors import GaveUp, KeyRejected
from engine.events import Waiting
from engine.faults import Fault, Interrupted, Offline, ServerTrouble, Throttled, Unreachable
from engine.runtime.exchange import Brake
from engine.runtime.persist import Persistence
from tests.engine.world import Events, FakeClock

pytestmark = pytest.mark.anyio
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def persisting(clock: FakeClock, told: Events, policy: RetryPolicy | None = None) -> Persistence:
    return Persistence("k3f9qz", clock, Brake(clock), told.append, policy or RetryPolicy())


class Far:
    """A far side that fails so until a moment, and answers from then on."""

    def __init__(self, clock: FakeClock, until_s: float, fault: Fault) -> None:
        self._clock, self._until_s, self._fault = clock, until_s, fault
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self._clock.now_s < self._until_s:
            raise self._fault
        return "here"


async def test_a_night_without_a_network_costs_nothing_but_time(clock: FakeClock, told: Events) -> None:
    """Eight hours offline end within seconds of the network's return, far beyond the budget."""
    far = Far(clock, clock.now_s + 8 * HOUR_S, Offline("there is no network"))
    persistence = persisting(clock, told, RetryPolicy(budget_s=HOUR_S))
    assert await persistence.until_answered(far, "The upload") == "here"
    assert 8 * HOUR_S <= clock.now_s - 1000.0 <= 8 * HOUR_S + 5.0
    assert persistence.cost.retries == far.asked - 1 == len(told.of(Waiting))


async def test_a_server_down_for_a_day_is_given_up(clock: FakeClock, told: Events) -> None:
    """After the budget without an answer the command ends, with what to type next."""
    far = Far(clock, clock.now_s + 2 * DAY_S, Unreachable("the server cannot be reached"))
    with pytest.raises(GaveUp, match="The submission made no progress for 24 hours") as caught:
        await persisting(clock, told).until_answered(far, "The submission")
    assert caught.value.hint is not None
    assert "speechstream resume k3f9qz" in caught.value.hint
    assert DAY_S <= clock.now_s - 1000.0 <= DAY_S + 60.0


async def test_a_server_down_for_most_of_the_budget_is_not(clock: FakeClock, told: Events) -> None:
    """And one success refills the budget for the next outage."""
    persistence = persisting(clock, told, RetryPolicy(budget_s=HOUR_S))
    for _ in range(4):
        far = Far(clock, clock.now_s + 0.9 * HOUR_S, Unreachable("down"))
        assert await persistence.until_answered(far, "The upload") == "here"


async def test_patience_asked_for_is_patience_for_all(clock: FakeClock, told: Events) -> None:
    """Retry-After slows every worker, not only the one that was told."""
    persistence = persisting(clock, told)
    waited = clock.now_s
    await persistence.wait(Throttled("429", retry_after_s=40.0), "The upload")
    assert 40.0 <= clock.now_s - waited <= 41.1
    persistence.brake.hold(0)
    other = FakeClock(waited)
    brake = Brake(other)
    await Persistence("other", other, brake, told.append, RetryPolicy()).wait(ServerTrouble("500"), "The upload")
    before = other.now_s
    await brake.passed()
    assert other.now_s == before  # an ordinary failure holds nobody else


async def test_what_is_not_a_fault_passes(clock: FakeClock, told: Events) -> None:
    """An error that a repeat cannot mend is not repeated."""

    async def rejected() -> None:
        raise KeyRejected("no")

    with pytest.raises(KeyRejected):
        await persisting(clock, told).until_answered(rejected, "The upload")
    assert clock.slept_s == []


@pytest.mark.parametrize(("budget_s", "said"), [(0.0, "0 seconds"), (90.0, "90 seconds"), (600.0, "10 minutes")])
async def test_the_budget_is_named_as_a_person_would(
    clock: FakeClock, told: Events, budget_s: float, said: str
) -> None:
    """The sentence says how long it was tried."""
    far = Far(clock, clock.now_s + DAY_S, Interrupted("cut"))
    with pytest.raises(GaveUp, match=f"for {said}: cut"):
        await persisting(clock, told, RetryPolicy(budget_s=budget_s)).until_answered(far, "The upload")

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.retry import DEFAULT_BUDGET_S, Patience, RetryPolicy, Wait
from engine.faults import Busy, Fault, Interrupted, Offline, ServerTrouble, Throttled, Unreachable

CHANCES = st.floats(0, 1, exclude_max=True)
HOUR_S = 3600.0


def wait_of(wait: Wait | None) -> Wait:
    assert wait is not None
    return wait


def test_the_budget_is_time_and_not_a_count() -> None:
    """Ten thousand failures in a minute are no reason to give up; one failure after a day is."""
    patience = Patience(RetryPolicy(), 0.0)
    for count in range(10_000):
        assert patience.after(Interrupted("cut"), count * 0.006, 0.5) is not None
    assert patience.after(Interrupted("cut"), DEFAULT_BUDGET_S - 1, 0.5) is not None
    assert patience.after(Interrupted("cut"), DEFAULT_BUDGET_S, 0.5) is None


def test_progress_refills_the_whole_budget() -> None:
    """An upload that crawls for a week, a byte a day, is never given up."""
    patience = Patience(RetryPolicy(budget_s=10.0), 0.0)
    now_s = 0.0
    for _ in range(100):
        now_s += 9.0
        assert patience.after(Interrupted("cut"), now_s, 0.0) is not None
        patience.progressed(now_s)
    now_s += 10.0
    assert patience.after(Interrupted("cut"), now_s, 0.0) is None


def test_progress_also_ends_the_back_off() -> None:
    """After a success the first new failure is answered as the very first was."""
    patience = Patience(RetryPolicy(), 0.0)
    first = wait_of(patience.after(Interrupted("cut"), 1.0, 0.9))
    for second in range(2, 12):
        patience.after(Interrupted("cut"), float(second), 0.9)
    patience.progressed(12.0)
    assert patience.after(Interrupted("cut"), 13.0, 0.9) == first


@pytest.mark.parametrize("free", [Offline("no network"), Throttled("429"), Throttled("429", retry_after_s=HOUR_S)])
def test_waiting_that_is_nobodys_failure_costs_nothing(free: Fault) -> None:
    """A month offline, or a month of 429, leaves the budget as it was."""
    patience = Patience(RetryPolicy(budget_s=60.0), 0.0)
    now_s = 0.0
    for _ in range(24 * 30):
        now_s += HOUR_S + wait_of(patience.after(free, now_s, 0.5)).delay_s
    # the exchange that fails next took 59 s, and only that counts
    waited = wait_of(patience.after(free, now_s, 0.5))
    now_s += waited.delay_s
    assert patience.after(Interrupted("cut"), now_s + 59.0, 0.5) is not None
    assert patience.after(Interrupted("cut"), now_s + 61.0, 0.5) is None


@pytest.mark.parametrize("kind", [Busy, ServerTrouble])
def test_a_wait_the_server_ordered_costs_nothing_whatever_the_status(kind: type[Fault]) -> None:
    """503 with Retry-After is the server asking for patience: obeying must not end the upload."""
    patience = Patience(RetryPolicy(budget_s=60.0), 0.0)
    ordered = wait_of(patience.after(kind("503", retry_after_s=HOUR_S), 1.0, 0.0))
    assert patience.after(Interrupted("cut"), 1.0 + ordered.delay_s + 58.0, 0.0) is not None
    assert patience.after(Interrupted("cut"), 1.0 + ordered.delay_s + 60.0, 0.0) is None


def test_the_time_a_busy_server_takes_to_say_so_still_counts() -> None:
    """A server that holds each request and then asks for patience cannot hold an upload for ever."""
    patience = Patience(RetryPolicy(budget_s=60.0), 0.0)
    now_s = 0.0
    waits = 0
    while (wait := patience.after(Busy("503", retry_after_s=5.0), now_s, 0.0)) is not None:
        waits += 1
        assert waits < 100
        now_s += wait.delay_s + 10.0
    assert waits == 6


@settings(deadline=None, max_examples=200)
@given(chance=CHANCES, failures=st.integers(1, 40))
def test_jitter_is_full_and_bounded(chance: float, failures: int) -> None:
    """The wait is the chance times a bound that doubles up to the cap: anything from none at all to the bound."""
    policy = RetryPolicy()
    patience = Patience(policy, 0.0)
    wait = None
    for _ in range(failures):
        wait = patience.after(ServerTrouble("500"), 0.0, chance)
    bound_s = min(policy.cap_s, policy.base_s * 2.0 ** min(failures, 16))
    assert wait == Wait(chance * bound_s, failures)


@settings(deadline=None, max_examples=60)
@given(
    chance=CHANCES,
    failures=st.integers(1, 5000),
    kind=st.sampled_from([(Offline, 5.0), (Unreachable, 5.0), (Interrupted, 15.0)]),
)
def test_what_the_network_does_is_tried_again_every_few_seconds(
    chance: float, failures: int, kind: tuple[type[Fault], float]
) -> None:
    """However long the outage, or the storm of resets, the next attempt is seconds away."""
    patience = Patience(RetryPolicy(), 0.0)
    for _ in range(failures):
        wait = patience.after(kind[0]("down"), 0.0, chance)
        assert wait_of(wait).delay_s <= kind[1]


@settings(deadline=None, max_examples=100)
@given(chance=CHANCES, ordered_s=st.floats(0, 86_400), failures=st.integers(1, 20))
def test_retry_after_wins_over_the_back_off(chance: float, ordered_s: float, failures: int) -> None:
    """Never sooner than the server said or our own back-off would be, and at most a second later, to spread clients."""
    patience, unordered = Patience(RetryPolicy(), 0.0), Patience(RetryPolicy(), 0.0)
    wait = own = None
    for _ in range(failures):
        wait = patience.after(Throttled("429", retry_after_s=ordered_s), 0.0, chance)
        own = unordered.after(Throttled("429"), 0.0, chance)
    assert ordered_s <= wait_of(wait).delay_s <= max(ordered_s + 1.0, wait_of(own).delay_s)


@pytest.mark.parametrize(("failures", "least_s"), [(1, 1.0), (10, 15.0)])
def test_retry_after_zero_is_no_loop_without_a_pause(failures: int, least_s: float) -> None:
    """A server that says “at once”, or names a moment gone by, is asked after a second, and ever less often."""
    patience = Patience(RetryPolicy(), 0.0)
    wait = None
    for _ in range(failures):
        wait = patience.after(Busy("503", retry_after_s=0.0), 0.0, 0.5)
    assert wait_of(wait).delay_s >= least_s


def test_no_budget_means_no_second_try() -> None:
    """With nothing to spend the first failure is the last, except for those that cost nothing."""
    assert Patience(RetryPolicy(budget_s=0.0), 0.0).after(Interrupted("cut"), 0.0, 0.5) is None
    assert Patience(RetryPolicy(budget_s=0.0), 0.0).after(Offline("no network"), 0.0, 0.5) is not None


def test_a_clock_that_stands_or_runs_back_costs_nothing() -> None:
    """Time that did not pass is not charged."""
    patience = Patience(RetryPolicy(budget_s=10.0), 100.0)
    for now_s in (100.0, 50.0, 50.0, 59.0):
        assert patience.after(Interrupted("cut"), now_s, 0.0) is not None

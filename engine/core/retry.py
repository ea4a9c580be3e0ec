"""How long to be patient: the policy of the one layer that retries.

The budget is time, not a count: wall-clock seconds without progress while the far side is at fault. Any
acknowledged byte refills it. Waiting because this machine is offline, or because the server asked for patience,
costs nothing. Delays follow full jitter (Brooker, “Exponential Backoff And Jitter”, AWS 2015): uniform between
zero and an exponentially growing bound, as that empties a queue of waiting clients soonest.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..faults import Fault, Interrupted, Offline, Severed, Unreachable

DEFAULT_BUDGET_S: Final = 24 * 3600.0  # a night in a hotel without a network must not end an upload
_MAX_DOUBLINGS: Final = 16  # 0.5 s doubled so often is past every cap; keeps the power finite
_SHORTEST_ORDER_S: Final = 1.0  # “Retry-After: 0”, or a date gone by, must not become a loop without a pause
_POLITE_SPREAD_S: Final = 1.0  # clients told the same Retry-After must not come back in one instant


class RetryPolicy(Struct, frozen=True):
    """The bounds of patience, in seconds."""

    budget_s: float = DEFAULT_BUDGET_S
    base_s: float = 0.5
    cap_s: float = 60.0
    broken_cap_s: float = 15.0  # the network's doing, not a server that needs rest: it may pass at any moment
    knock_cap_s: float = 5.0  # a link that is back must be noticed soon, and a connection attempt is cheap


class Wait(Struct, frozen=True):
    """What to do after a fault: sleep `delay_s`. `attempt` counts failures since the last progress."""

    delay_s: float
    attempt: int


class Patience:
    """Counts what the far side has cost since the last progress. Owned by one task; told the time."""

    def __init__(self, policy: RetryPolicy, now_s: float) -> None:
        self._policy = policy
        self.refilled(now_s)
        self._failures = 0

    def progressed(self, now_s: float) -> None:
        """A byte was acknowledged, or an answer counted: the whole budget is there again."""
        self._since_s = now_s
        self._spent_s = 0.0
        self._failures = 0

    def refilled(self, now_s: float) -> None:
        """Something was acknowledged elsewhere in the same upload: the budget is whole again."""
        self._since_s = now_s
        self._spent_s = 0.0

    def after(self, fault: Fault, now_s: float, chance: float) -> Wait | None:
        """The wait that follows `fault`, or None when the budget is spent. `chance` is uniform in [0, 1)."""
        elapsed_s = max(0.0, now_s - self._since_s)
        self._since_s = now_s
        if fault.costs_budget:
            self._spent_s += elapsed_s
            if self._spent_s >= self._policy.budget_s:
                return None
        self._failures += 1
        delay_s = self._delay_s(fault, chance)
        if not fault.costs_budget or fault.retry_after_s is not None:
            self._since_s = now_s + delay_s
        return Wait(delay_s, self._failures)

    def _delay_s(self, fault: Fault, chance: float) -> float:
        own_s = self._own_delay_s(fault, chance)
        if fault.retry_after_s is not None:
            ordered_s = fault.retry_after_s + chance * min(_POLITE_SPREAD_S, fault.retry_after_s / 10)
            return max(ordered_s, own_s, _SHORTEST_ORDER_S)
        return own_s

    def _own_delay_s(self, fault: Fault, chance: float) -> float:
        if isinstance(fault, Severed):
            return 0.0  # the link was seen to be there, and each cut takes its time to come about
        bound_s = min(self._cap_s(fault), self._policy.base_s * 2.0 ** min(self._failures, _MAX_DOUBLINGS))
        return chance * bound_s

    def _cap_s(self, fault: Fault) -> float:
        if isinstance(fault, (Offline, Unreachable)):
            return self._policy.knock_cap_s
        return self._policy.broken_cap_s if isinstance(fault, Interrupted) else self._policy.cap_s

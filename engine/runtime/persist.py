"""The one layer that retries: runs an attempt until it counts, is forbidden, or patience ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ..core.retry import Patience, RetryPolicy
from ..errors import GaveUp
from ..events import Waiting
from ..faults import Fault, Throttled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..events import Event
    from .clock import Clock
    from .exchange import Brake

T = TypeVar("T")
log = logging.getLogger("speechstream.retry")


@dataclass(slots=True)
class Persistence:
    """Patience in action for one stage of one job; counts what it cost."""

    job_id: str
    clock: Clock
    brake: Brake
    emit: Callable[[Event], None]
    policy: RetryPolicy
    retries: int = 0
    waited_s: float = 0.0
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience(self.policy, self.clock.monotonic())

    def progressed(self) -> None:
        """Something was acknowledged."""
        self._patience.progressed(self.clock.monotonic())

    async def wait(self, fault: Fault, doing: str) -> None:
        """Sleep as the policy says after `fault`.

        Raises:
            GaveUp: the budget is spent.
        """
        wait = self._patience.after(fault, self.clock.monotonic(), self.clock.chance())
        if wait is None:
            raise GaveUp(
                f"{doing} made no progress for {_duration(self.policy.budget_s)}: {fault.message}",
                hint=f"nothing is lost; when the network is better: `speechstream resume {self.job_id}`",
            ) from fault
        self.retries += 1
        self.waited_s += wait.delay_s
        if isinstance(fault, Throttled) or fault.retry_after_s is not None:
            self.brake.hold(wait.delay_s)
        log.info("%s: attempt %d failed, next in %.1f s: %s", doing, wait.attempt, wait.delay_s, fault.message)
        self.emit(Waiting(self.job_id, fault.message, wait.delay_s))
        await self.clock.sleep(wait.delay_s)

    async def until_answered(self, attempt: Callable[[], Awaitable[T]], doing: str) -> T:
        """Repeat `attempt` until it returns or raises something that is not a fault worth repeating.

        For calls that are idempotent. `attempt` raises `Fault` to be repeated; any other exception passes.
        """
        while True:
            try:
                answer = await attempt()
            except Fault as fault:
                await self.wait(fault, doing)
            else:
                self.progressed()
                return answer


def _duration(seconds: float) -> str:
    if seconds >= 7200:  # noqa: PLR2004 - from two hours on, hours read better
        return f"{seconds / 3600:.0f} hours"
    if seconds >= 120:  # noqa: PLR2004 - from two minutes on, minutes do
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds:.0f} seconds"

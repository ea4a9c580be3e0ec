"""The one layer that retries: runs an attempt until it counts, is forbidden, or patience ends."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from ..core.retry import Patience, RetryPolicy
from ..errors import GaveUp
from ..events import Waiting
from ..faults import Fault, Throttled
from ..model import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..events import Event
    from .clock import Clock
    from .exchange import Brake

T = TypeVar("T")
log = logging.getLogger("speechstream.retry")


class _Together(Struct):
    """What the lanes of one upload have in common."""

    patiences: list[Patience] = []
    retries: int = 0
    waited_s: float = 0.0
    _waits_until_s: float = 0.0

    def count(self, now_s: float, delay_s: float) -> None:
        """Count a retry, and its wait as far as no other lane's wait covers it already."""
        self.retries += 1
        end_s = now_s + delay_s
        self.waited_s += max(0.0, end_s - max(now_s, self._waits_until_s))
        self._waits_until_s = max(self._waits_until_s, end_s)


@dataclass(slots=True, eq=False, repr=False)
class Persistence:
    """Patience in action for one stage of one job, or one lane of it; counts what it cost."""

    job_id: str
    clock: Clock
    brake: Brake
    emit: Callable[[Event], None]
    policy: RetryPolicy
    _together: _Together = field(default_factory=_Together)
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience(self.policy, self._online_s())
        self._together.patiences.append(self._patience)

    def beside(self) -> Persistence:
        """Persistence for one more lane of the same upload: waits of its own, and progress of any refills all."""
        return Persistence(self.job_id, self.clock, self.brake, self.emit, self.policy, self._together)

    @property
    def cost(self) -> Tally:
        """The retries of all lanes, and the seconds that at least one of them waited."""
        return Tally(retries=self._together.retries, waited_s=self._together.waited_s)

    def progressed(self) -> None:
        """Something was acknowledged."""
        now_s = self._online_s()
        for patience in self._together.patiences:
            patience.refilled(now_s)
        self._patience.progressed(now_s)

    async def wait(self, fault: Fault, doing: str) -> None:
        """Sleep as the policy says after `fault`.

        Raises:
            GaveUp: the budget is spent.
        """
        wait = self._patience.after(fault, self._online_s(), self.clock.chance())
        if wait is None:
            raise GaveUp(
                f"{doing} made no progress for {_duration(self.policy.budget_s)}: {fault.message}",
                hint=f"nothing is lost; when the network is better: `speechstream resume {self.job_id}`",
            ) from fault
        if isinstance(fault, Throttled) or fault.retry_after_s is not None:
            self.brake.hold(wait.delay_s)
        log.info("%s: attempt %d failed, next in %.1f s: %s", doing, wait.attempt, wait.delay_s, fault.message)
        await self._rest(fault, wait.delay_s)

    async def _rest(self, fault: Fault, delay_s: float) -> None:
        """Sleep; while the link is down, until it is up again."""
        link, started_s = self.brake.link, self.clock.monotonic()
        if not link.down:
            self._together.count(started_s, delay_s)
            if delay_s > 0:
                self.emit(Waiting(self.job_id, fault.message, delay_s))
            await link.rest(delay_s)
            return
        if link.first_to_tell(self.job_id):
            self.emit(Waiting(self.job_id, fault.message, None))
        await link.rest(delay_s)
        self._together.count(started_s, self.clock.monotonic() - started_s)

    def _online_s(self) -> float:
        """The time that patience counts: it stands still while this machine is known to be offline."""
        return self.clock.monotonic() - self.brake.link.offline_s

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

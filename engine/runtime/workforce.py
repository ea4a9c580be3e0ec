"""How many workers send at once, of all uploads of this process together: told by what their connections show."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..core.control import LaneControl, Traffic
from ..core.median import median

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..core.watchdog import Sample

log = logging.getLogger("speechstream.lanes")


class Workforce:
    """Lends places to workers. Every upload gets one at once; further ones as far as `control` finds them of use.

    Without a control nothing is known of the link, and all that ask are let in. `held` tells whether something else
    than the link decides how fast all of them send.
    """

    def __init__(self, control: LaneControl | None = None, held: Callable[[], bool] = lambda: False) -> None:
        self._control = control
        self._held = held
        self._places: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._wakers: dict[str, Callable[[], None]] = {}
        self._acked: dict[int, int] = {}
        self._acked_bytes = 0
        self._limited: set[str] = set()

    def join(self, upload: str, wake: Callable[[], None]) -> None:
        """An upload begins; `wake` is called whenever it may be let in where it was not before."""
        self._places[upload] = 0
        self._wakers[upload] = wake

    def leave(self, upload: str) -> None:
        """An upload has ended."""
        del self._places[upload], self._wakers[upload]
        self._most.pop(upload, None)
        self._limited.discard(upload)
        self._wake()

    def admits(self, upload: str, most: int) -> bool:
        """Whether one more worker of this upload may send, of which `most` are wanted at once."""
        self._most[upload] = most
        if self._places[upload] >= most:
            return False
        if self._places[upload] == 0 or self._control is None:
            return True
        return sum(self._places.values()) < self._control.lanes

    def took(self, upload: str) -> None:
        """A worker of this upload begins."""
        self._places[upload] += 1

    def gave_back(self, upload: str) -> None:
        """A worker of this upload has ended."""
        if upload in self._places:
            self._places[upload] -= 1
            self._wake()

    def wants_back(self, upload: str) -> bool:
        """Whether a worker of this upload should end: there are too many, and no upload has more than this one."""
        mine = self._places.get(upload, 0)
        if mine > self._most.get(upload, mine):
            return True
        if self._control is None:
            return False
        return mine > 1 and sum(self._places.values()) > self._control.lanes and mine == max(self._places.values())

    def limit(self, upload: str, *, limited: bool) -> None:
        """Say whether a limit on the rate of this upload holds: what moves then says nothing of the link."""
        (self._limited.add if limited else self._limited.discard)(upload)

    def refused(self, now_s: float) -> None:
        """The server asks for patience."""
        if self._control is not None:
            self._control.refused(now_s)

    def link_changed(self) -> None:
        """This machine has slept, or is somewhere else."""
        if self._control is not None:
            self._control.link_changed()

    def see(self, samples: Iterable[tuple[int, Sample]], now_s: float, *, held: bool, cpu_s: float = 0.0) -> None:
        """Take note of all connections that send, each under a number that stays the same for one exchange.

        `held` when something else than the link decides how fast it goes; `cpu_s` is the sending thread's own time.
        """
        seen: dict[int, int] = {}
        answers: list[float] = []
        bases: list[float] = []
        for number, sample in samples:
            if not sample.connected:
                continue
            before = self._acked.get(number, sample.acked_bytes)
            self._acked_bytes += max(0, sample.acked_bytes - before)
            seen[number] = sample.acked_bytes
            if sample.base_rtt_s:
                answers.append(sample.rtt_s)
                bases.append(sample.base_rtt_s)
        self._acked = seen
        if self._control is None:
            return
        lanes = self._control.lanes
        self._control.see(
            Traffic(
                now_s,
                self._acked_bytes,
                len(seen),
                median(answers) if answers else None,
                min(bases) if bases else None,
                held or bool(self._limited) or self._held(),
                cpu_s,
            )
        )
        if self._control.lanes != lanes:
            log.info("%d lanes instead of %d: %s", self._control.lanes, lanes, self._control.why)
            self._wake()

    def _wake(self) -> None:
        for wake in list(self._wakers.values()):
            wake()

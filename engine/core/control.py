"""How many lanes to send over at once: as many as the link has use for, found by watching. Pure; told the time.

Theory of operation. One TCP connection that loses packets moves about 1.2 MSS / (RTT sqrt(loss)), whatever the link
could take (Mathis, Semke, Mahdavi, Ott: “The macroscopic behavior of the TCP congestion avoidance algorithm”, 1997).
Several of them move several times as much, until the link is full. Three signs tell that it is:

* its queue: the RTT of the connections is well above the least that was seen. Loss alone leaves the queue empty, so an
  empty queue means that there is room for more lanes (TCP Vegas and BBR go by the same sign);
* the gain: more lanes have moved no more bytes, because the server or the disk is what is slow;
* the processor: where one is all that we use, further lanes only cost more of it.

While the queue is empty the lanes are doubled every few round trips, as in slow start, and beyond the number at which
the link was once seen full they grow by a quarter. A full queue takes a quarter of them back if that costs nothing,
but none of those there were to begin with: what one of them loses, the others carry, when the queue is empty again.
A step that brought less than it should is undone, and for a while nothing is tried. A server that refuses (429,
503 with a time to wait) halves them.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from msgspec import Struct

from .median import median

FIRST_LANES: Final = 2  # while one waits for an answer, the other sends
FILLING_LANES: Final = 8
MAX_LANES: Final = 48  # on 200 Mbit/s with 180 ms and 1 % of loss they move half as much again as 32


class Traffic(Struct, frozen=True):
    """What all connections that send show at one moment.

    `acked_bytes` counts since the beginning and never falls. `sending` is how many lanes have bytes under way. `rtt_s`
    is what an answer takes now, `base_rtt_s` the least it ever took; None where the kernel does not tell. `held` when
    something else than the link decides how fast it goes: a limit on the rate, or no link at all. `cpu_s` is the
    processor time that sending has taken.
    """

    now_s: float
    acked_bytes: int
    sending: int
    rtt_s: float | None = None
    base_rtt_s: float | None = None
    held: bool = False
    cpu_s: float = 0.0


class Queue(Enum):
    """What the round trips say of the link's queue."""

    UNKNOWN = auto()
    EMPTY = auto()
    SOME = auto()
    FULL = auto()
    HERE = auto()  # bytes wait for this processor, whatever the link could take


class _Trial(Struct, frozen=True):
    """A step that is being tried: what there was before it."""

    lanes: int
    rate: float


class _Epoch:
    """A stretch of time in which the number of lanes stays; what happens before `settled_s` does not count."""

    def __init__(self, lanes: int, traffic: Traffic, settle_s: float, measure_s: float) -> None:
        self.lanes = lanes
        self.settled_s = traffic.now_s + settle_s
        self.until_s = self.settled_s + measure_s
        self._first: Traffic | None = None
        self._last = traffic
        self._waiting_s: list[float] = []
        self._sending: list[int] = []

    def see(self, traffic: Traffic) -> None:
        """Take note of a moment."""
        if traffic.now_s < self.settled_s:
            return
        self._first, self._last = self._first or traffic, traffic
        self._sending.append(traffic.sending)
        if traffic.rtt_s is not None and traffic.base_rtt_s is not None:
            self._waiting_s.append(max(0.0, traffic.rtt_s - traffic.base_rtt_s))

    @property
    def over(self) -> bool:
        """Whether enough was seen."""
        return self._last.now_s >= self.until_s and self._first is not None and self._first is not self._last

    @property
    def rate(self) -> float:
        """Acknowledged bytes a second."""
        first = self._first or self._last
        return (self._last.acked_bytes - first.acked_bytes) / max(self._last.now_s - first.now_s, 1e-3)

    @property
    def busy(self) -> float:
        """Which share of the lanes had bytes under way."""
        return median(self._sending) / self.lanes if self._sending else 0.0

    def queue(self) -> Queue:
        """What the round trips said, and the processor."""
        first = self._first or self._last
        if self._last.cpu_s - first.cpu_s >= LaneControl.WORN_SHARE * (self._last.now_s - first.now_s):
            return Queue.HERE
        base_s = self._last.base_rtt_s
        if base_s is None or not self._waiting_s:
            return Queue.UNKNOWN
        waiting_s = median(self._waiting_s)
        if waiting_s <= max(LaneControl.EMPTY_S, LaneControl.EMPTY_SHARE * base_s):
            return Queue.EMPTY
        if waiting_s >= max(LaneControl.FULL_S, LaneControl.FULL_SHARE * base_s):
            return Queue.FULL
        return Queue.SOME


class LaneControl:
    """Decides `lanes` between 1 and `cap`; `why` says what the last decision was made on.

    `filling` where each connection fills a link by itself, lost packets or not, as BBR does: then more of them only
    shorten the beginning and the pauses between requests.
    """

    LANE_PER_S: Final = 0.05  # of round trip, to begin with: each window takes so much longer to grow on a long way
    SETTLE_ROUND_TRIPS: Final = 2.5  # a connection, a creation, and the first window
    SETTLE_S: Final = 0.3
    FILL_ROUND_TRIPS: Final = 8.0  # doubling, ten packets become 2,500: a pipe of 3.6 MB
    GLANCE_ROUND_TRIPS: Final = 2.0  # the queue is seen at once; a rate takes longer to tell
    GLANCE_S: Final = 0.2
    MEASURE_ROUND_TRIPS: Final = 8.0
    MEASURE_S: Final = 2.0
    EMPTY_S: Final = 0.012  # more than what jitter does to a smoothed RTT
    EMPTY_SHARE: Final = 0.2
    FULL_S: Final = 0.2
    FULL_SHARE: Final = 1.0
    WORTH_SHARE: Final = 0.3  # of linear gain
    DOUBLING_GAIN: Final = 1.2  # what two doublings must bring at least: a link that loses packets gives four times
    BUSY_SHARE: Final = 0.75
    WORN_SHARE: Final = 0.85
    HOLD_EPOCHS: Final = 2
    MOST_HOLD_EPOCHS: Final = 16
    REFUSED_FOR_S: Final = 30.0

    def __init__(self, cap: int = MAX_LANES, *, filling: bool = False) -> None:
        self.cap = min(cap, FILLING_LANES) if filling else cap
        self.lanes = min(FIRST_LANES, self.cap)
        self._least = self.lanes
        self._filling = filling
        self.why = ""
        self._begun = False
        self._epoch: _Epoch | None = None
        self._refused_until_s = float("-inf")
        self._forget()

    def _forget(self) -> None:
        self._rates: dict[int, float] = {}
        self._trial: _Trial | None = None
        self._full_at: int | None = None
        self._queue = Queue.UNKNOWN
        self._hold = 0
        self._next_hold = self.HOLD_EPOCHS

    def see(self, traffic: Traffic) -> None:
        """Take note of a moment, and change `lanes` when it is time to."""
        if traffic.held or not traffic.sending:
            self._epoch = None
            return
        if traffic.base_rtt_s is not None:
            wanted = min(self.cap, FIRST_LANES + int(traffic.base_rtt_s / self.LANE_PER_S))
            if not self._begun:
                self._begun = True
                self.lanes = self._least = wanted
            self._least = min(self._least, wanted)  # a base that was measured behind a queue is too long
        if self._epoch is None or self._epoch.lanes != self.lanes:
            self._epoch = self._new_epoch(traffic)
        self._epoch.see(traffic)
        if self._epoch.over:
            epoch, self._epoch = self._epoch, None
            if epoch.busy < self.BUSY_SHARE or traffic.now_s < self._refused_until_s:
                self._trial = None
                return
            self._judge(epoch.rate, epoch.queue())

    def refused(self, now_s: float) -> None:
        """The server has said that it is too much."""
        if now_s >= self._refused_until_s:
            self.lanes = max(1, self.lanes // 2)
            self.why = "the server asks for patience"
            self._refused_until_s = now_s + self.REFUSED_FOR_S
        self._full_at, self._trial, self._epoch = self.lanes, None, None

    def link_changed(self) -> None:
        """What was learnt holds no more; as many lanes as there are is as good a beginning as any."""
        self._epoch = None
        self._forget()

    def _new_epoch(self, traffic: Traffic) -> _Epoch:
        rtt_s = traffic.rtt_s or 0.1
        settle_s = max(self.SETTLE_S, (self.FILL_ROUND_TRIPS if self._filling else self.SETTLE_ROUND_TRIPS) * rtt_s)
        if self._trial is None:
            return _Epoch(self.lanes, traffic, settle_s, max(self.GLANCE_S, self.GLANCE_ROUND_TRIPS * rtt_s))
        return _Epoch(self.lanes, traffic, settle_s, max(self.MEASURE_S, self.MEASURE_ROUND_TRIPS * rtt_s))

    def _judge(self, rate: float, queue: Queue) -> None:
        self.why = f"{rate / 1e6:.2f} MB/s, queue {queue.name.lower()}"
        self._rates[self.lanes] = rate
        if self._trial is not None:
            trial, self._trial = self._trial, None
            if not self._was_worth(trial, rate, queue):
                self.lanes = trial.lanes
                self._rest()
                return
            self._next_hold = self.HOLD_EPOCHS
        same = queue is self._queue
        self._queue = queue
        if self._hold:
            self._hold -= 1
        elif queue in {Queue.FULL, Queue.HERE}:
            if not same:
                return  # the first windows of a connection overshoot
            self._full_at = self.lanes
            fewer = max(self._least, self.lanes - max(1, self.lanes // 4))
            self._try(min(self.lanes, fewer), rate)
        elif queue is Queue.EMPTY and (self._full_at is None or self.lanes < self._full_at):
            self._double()
        elif queue is Queue.EMPTY and same:
            self._full_at = None
            self._double()
        elif queue in {Queue.EMPTY, Queue.UNKNOWN}:
            more = self.lanes if queue is Queue.UNKNOWN else max(1, self.lanes // 4)
            self._try(min(self.cap, self.lanes + more), rate)

    def _double(self) -> None:
        """There is room, as the queue says; unless two doublings have brought nothing."""
        quarter = self._rates.get(self.lanes // 4)
        if quarter is not None and self._rates[self.lanes] < self.DOUBLING_GAIN * quarter:
            self.lanes = self._full_at = self.lanes // 4
            self._rest()
        else:
            self.lanes = min(2 * self.lanes, self._full_at or self.cap, self.cap)

    def _try(self, lanes: int, rate: float) -> None:
        if lanes != self.lanes:
            self._trial, self.lanes = _Trial(self.lanes, rate), lanes

    def _rest(self) -> None:
        self._hold, self._next_hold = self._next_hold, min(2 * self._next_hold, self.MOST_HOLD_EPOCHS)

    def _was_worth(self, trial: _Trial, rate: float, queue: Queue) -> bool:
        """Whether the step to the present number is to be kept."""
        if self.lanes < trial.lanes:
            return rate >= 0.98 * trial.rate
        if queue is Queue.EMPTY:
            return rate >= trial.rate
        return rate >= trial.rate * (1 + self.WORTH_SHARE * (self.lanes / trial.lanes - 1))

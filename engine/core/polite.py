"""How fast a polite upload may send: as fast as the line is idle, and no faster. Pure; told the time.

Whoever fills a line fills the queue before it, and everybody else's packets wait in that queue: 250 ms and more behind
a home router. LEDBAT (RFC 6817) keeps away from it by holding the delay that it adds itself to a target; when others
send, the queue grows beyond the target and it steps back. This is its idea for several connections of one program,
with what LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) learnt from its use:

* The delay is the kernel's smoothed RTT less the least one of the last minutes (RFC 6817 section 3.4.2). Of several
  connections over one path the least counts, as a retransmission or a late acknowledgement is no queue.
* All connections together have one window in bytes; the rate is the window over the RTT, so that a queue that grows
  slows the rate before any decision. An RTT shorter than what it takes to feel a change counts as that long: the rate
  would swing otherwise, as it stands still between two looks.
* The window changes by what would change the delay as wanted: at a delivered rate `x`, `x * d` more bytes under way add
  no more than `d` of delay, whatever the line carries. Half of what is missing is added, all of what is too much taken.
* Where there is no queue at all the window grows by a quarter in the time that it takes to feel a change; it doubles up
  to near where the line was full last, and grows by a twentieth from there on.
* Every so often it nearly stops for a few round trips, unless the line was seen idle of late: who has stood in his own
  queue since he came does not know its size (LEDBAT++ section 4.5).
* Who sends next to nothing and sees an RTT that does not move takes it for the path's: the route has become longer.

The target is 25 ms where RFC 6817 allows 100: half of the 50 ms that a call does not notice, the rest is for what
happens before a change is felt.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGET_S: Final = 0.025
LEAST_BYTES_S: Final = 16 << 10  # it never starves: a request of 64 KiB in 4 s (core.pacing)
FIRST_BYTES_S: Final = 32 << 10  # half of what the slowest lines carry that anybody uploads over
FEEL_S: Final = 0.2  # a change shows in the smoothed RTT after some samples of ours, a tenth of a second apart
FIRST_GROWTH: Final = 0.25  # overshoots once: so much too much for as long as it is not felt
REGAIN_GROWTH: Final = 1.0
CAREFUL_GROWTH: Final = 0.05
CAREFUL_FROM: Final = 0.75  # of what the line carried when it was last full
OUTGROWN: Final = 1.25  # times that without a queue: that says nothing any more
IDLE_SHARE: Final = 0.25  # of the target: below it there is no queue
USED_SHARE: Final = 0.7  # of the rate: who does not use it gets no more
SHOULD_DRAIN_S: Final = 20.0
DRAIN_SHARE: Final = 0.1
DRAIN_S: Final = 0.4
AFTER_DRAIN_SHARE: Final = 0.9  # without a queue the same window is a higher rate
WINDOW_S: Final = 30.0
WINDOWS: Final = 6
STILL_S: Final = 20.0  # a competitor's queue moves by more within a period of cubic (RFC 9438 section 4.1)
STILL_SHARE: Final = 0.03
STILL_LEAST_S: Final = 0.002


SEGMENT_BYTES: Final = 1448
SMOOTHING: Final = 1 / 8
MODEST_SHARE: Final = 0.5
MEASURE_S: Final = 2.0
MEASURE_EVERY_S: Final = 60.0


class Sight(Struct, frozen=True):
    """One connection as the kernel shows it: whereto, its smoothed RTT, and how much of all was acknowledged."""

    path: str
    name: int
    rtt_s: float
    acked_bytes: int


def _unsmoothed_s(before: Sight, now: Sight) -> float:
    """The RTT between two looks, of which the smoothed one has taken in an eighth with every acknowledgement.

    As a rule there was at most one for each segment, so this is no further from the smoothed RTT than the truth. Who
    sends little sees the end of a queue in a second that he would else see in five.
    """
    most_samples = max(1.0, (now.acked_bytes - before.acked_bytes) / SEGMENT_BYTES)
    taken_in = 1.0 - float((1 - SMOOTHING) ** most_samples)
    return max(0.0, before.rtt_s + (now.rtt_s - before.rtt_s) / taken_in)


class BaseDelay:
    """The RTT of one path without a queue: the least of some minutes, as a route may become longer (RFC 6817 3.4.2)."""

    def __init__(self, now_s: float, rtt_s: float) -> None:
        self._windows: deque[float] = deque([rtt_s], maxlen=WINDOWS)
        self._since_s = now_s
        self._still: tuple[float, float, float] | None = None

    @property
    def rtt_s(self) -> float:
        """The base."""
        return min(self._windows)

    def see(self, rtt_s: float, now_s: float) -> None:
        """Take note of a sample."""
        if now_s - self._since_s >= WINDOW_S:
            self._since_s = now_s
            self._windows.append(rtt_s)
        self._windows[-1] = min(self._windows[-1], rtt_s)

    def see_still(self, rtt_s: float, now_s: float) -> None:
        """Take note of a sample while we send next to nothing: what does not move for long is the path, not a queue."""
        since_s, least_s, most_s = self._still or (now_s, rtt_s, rtt_s)
        least_s, most_s = min(least_s, rtt_s), max(most_s, rtt_s)
        self._still = (since_s, least_s, most_s)
        if most_s - least_s > max(STILL_LEAST_S, STILL_SHARE * least_s):
            self._still = None
        elif now_s - since_s >= STILL_S:
            self._windows.clear()
            self._windows.append(least_s)

    def moved(self) -> None:
        """We send again: nothing of the path can be told from what the RTT does."""
        self._still = None


class Polite:
    """Finds the rate. Shown all connections about ten times a second by whoever sends."""

    def __init__(self, now_s: float) -> None:
        self._bases: dict[str, BaseDelay] = {}
        self._sights: dict[int, Sight] = {}
        self._arrived: deque[tuple[float, int]] = deque([(now_s, 0)])
        self._window_bytes = 0.0
        self._rtt_s = 0.0
        self._seen_s = now_s
        self._clean_s = now_s
        self._drain_until_s = 0.0
        self._settled_s = 0.0
        self._full_bytes_s = 0.0
        self._was_idle = True
        self._doubted = False  # a base that fell much may not have reached its ground: our queue is still on it
        self.delay_s = 0.0

    @property
    def rate_bytes_s(self) -> float:
        """What all connections together may send at."""
        if not self._rtt_s:
            return FIRST_BYTES_S
        share = DRAIN_SHARE if self._drain_until_s else 1.0
        return max(LEAST_BYTES_S, share * self._window_bytes / self._span_s)

    @property
    def _span_s(self) -> float:
        """What the window is over: the RTT, or longer where that is shorter than what is felt."""
        return max(self._rtt_s - self.delay_s, FEEL_S) + self.delay_s

    def see(self, sights: Iterable[Sight], now_s: float) -> None:
        """Take note of all connections; those that nothing was acknowledged on tell nothing new."""
        acked_bytes, least_s = self._news(sights)
        passed_s, self._seen_s = min(now_s - self._seen_s, 1.0), now_s
        self._count(acked_bytes, now_s)
        if not least_s:
            return
        delays = []
        for path, (rtt_s, smoothed_s) in least_s.items():
            base = self._bases.setdefault(path, BaseDelay(now_s, smoothed_s))
            before_s = base.rtt_s
            base.see(smoothed_s, now_s)  # a base that is taken too low by an estimate would be believed for minutes
            self._doubted = self._doubted or before_s - base.rtt_s > TARGET_S / 2
            delay_s = max(0.0, rtt_s - base.rtt_s)
            delays.append((delay_s, base.rtt_s + delay_s))
        self.delay_s, self._rtt_s = max(delays)
        if not self._window_bytes:
            self._window_bytes = FIRST_BYTES_S * self._span_s
        self._look_for_a_longer_route(least_s, now_s)
        self._drain_or_not(now_s)
        if not self._drain_until_s and now_s >= self._settled_s:
            self._notice_full()
            self._adjust(passed_s)

    def _news(self, sights: Iterable[Sight]) -> tuple[int, dict[str, tuple[float, float]]]:
        """How much was acknowledged since the last look, and each path's least new RTT: as it is, and smoothed."""
        total, least_s, seen = 0, dict[str, tuple[float, float]](), dict[int, Sight]()
        for sight in sights:
            before = self._sights.get(sight.name) or replace(sight, acked_bytes=0)
            if before.rtt_s <= 0:  # there was none yet
                before = replace(before, rtt_s=sight.rtt_s)
            seen[sight.name] = sight
            if sight.acked_bytes > before.acked_bytes and sight.rtt_s > 0:
                total += sight.acked_bytes - before.acked_bytes
                found_s = _unsmoothed_s(before, sight), sight.rtt_s
                least_s[sight.path] = min(found_s, least_s.get(sight.path, found_s))
        self._sights = seen
        return total, least_s

    def _count(self, acked_bytes: int, now_s: float) -> None:
        self._arrived.append((now_s, acked_bytes))
        while len(self._arrived) > 2 and now_s - self._arrived[1][0] > self._feel_s:  # noqa: PLR2004 - a first and a last
            self._arrived.popleft()

    @property
    def _feel_s(self) -> float:
        """How long it takes until a change of the window shows."""
        return max(FEEL_S, 2 * self._rtt_s)

    @property
    def delivered_bytes_s(self) -> float:
        """What has arrived of late."""
        lasted_s = self._arrived[-1][0] - self._arrived[0][0]
        return sum(size for _, size in list(self._arrived)[1:]) / lasted_s if lasted_s > 0 else 0.0

    @property
    def is_used(self) -> bool:
        """Whether about as much arrives as may be sent; if not, those who send could not send more."""
        return self.delivered_bytes_s >= USED_SHARE * self.rate_bytes_s

    def _adjust(self, passed_s: float) -> None:
        delivered, missing_s = self.delivered_bytes_s, TARGET_S - self.delay_s
        part = min(1.0, passed_s / self._feel_s)
        if missing_s < 0:
            change = max(delivered * missing_s, -self._window_bytes / 2)
        elif not self.is_used:
            return
        else:
            change = delivered * missing_s / 2
            if self.delay_s < IDLE_SHARE * TARGET_S:
                change = self._growth() * self._window_bytes
        least = LEAST_BYTES_S * self._span_s
        self._window_bytes = max(least, self._window_bytes + part * change)

    def _growth(self) -> float:
        """By what share to grow on an idle line."""
        if self.rate_bytes_s > OUTGROWN * self._full_bytes_s:
            self._full_bytes_s = 0.0  # it was full of what others sent, or carries more now
            return FIRST_GROWTH
        return REGAIN_GROWTH if self.rate_bytes_s < CAREFUL_FROM * self._full_bytes_s else CAREFUL_GROWTH

    def _notice_full(self) -> None:
        """Remember what arrived when a line that was idle became full."""
        if self._was_idle and self.delay_s >= TARGET_S:
            self._full_bytes_s, self._was_idle = self.delivered_bytes_s, False
        elif self.delay_s < IDLE_SHARE * TARGET_S:
            self._was_idle = True

    def _drain_or_not(self, now_s: float) -> None:
        if self._drain_until_s:
            if now_s >= self._drain_until_s:
                self._drain_until_s, self._clean_s = 0.0, now_s
                self._settled_s = now_s + self._feel_s  # what is seen until then is of the drain
                self._window_bytes *= AFTER_DRAIN_SHARE
                self._arrived = deque([(now_s, 0)])
            return
        if self.delay_s <= IDLE_SHARE * TARGET_S:
            self._clean_s = now_s
        due = self._doubted or now_s - self._clean_s >= SHOULD_DRAIN_S
        if due and self.rate_bytes_s > 2 * LEAST_BYTES_S:
            self._drain_until_s, self._doubted = now_s + max(DRAIN_S, 3 * self._rtt_s), False

    def _look_for_a_longer_route(self, least_s: dict[str, tuple[float, float]], now_s: float) -> None:
        nearly_silent = self.rate_bytes_s <= LEAST_BYTES_S and not self._drain_until_s
        for path, (_, smoothed_s) in least_s.items():
            if nearly_silent:
                self._bases[path].see_still(smoothed_s, now_s)
            else:
                self._bases[path].moved()


class Modest:
    """Where no RTT is to be had: half of what the line takes, measured for two seconds of every minute."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._taken_bytes = 0
        self._rate: float | None = None

    def rate_bytes_s(self, now_s: float) -> float | None:
        """What may be sent at; None while it is measured."""
        if self._rate is None:
            if now_s - self._since_s >= MEASURE_S and self._taken_bytes:
                taken_bytes_s = self._taken_bytes / (now_s - self._since_s)
                self._rate, self._since_s = max(LEAST_BYTES_S, MODEST_SHARE * taken_bytes_s), now_s
        elif now_s - self._since_s >= MEASURE_EVERY_S:
            self._rate, self._since_s, self._taken_bytes = None, now_s, 0
        return self._rate

    def took(self, size_bytes: int) -> None:
        """A piece goes."""
        self._taken_bytes += size_bytes

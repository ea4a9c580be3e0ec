"""Lines that are only arithmetic: a queue before a bottleneck, a polite upload, and others who send through it."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from engine.core.polite import Polite, Sight

STEP_S = 0.005
LOOK_EVERY_S = 0.1  # half as often as it is in earnest while pieces go
SEGMENT = 1448
QUEUE_S = 0.25


@dataclass
class Cubic:
    """Somebody else's upload by one TCP connection, as RFC 9438 has it, in its essentials."""

    window: float = 10.0 * SEGMENT
    most: float = 0.0
    since_s: float = -1.0

    def step(self, now_s: float, rtt_s: float, *, lost: bool) -> None:
        """Grow, or be cut by three tenths, once in a round trip."""
        if lost and now_s - self.since_s > rtt_s:
            self.most, self.since_s = self.window, now_s
            self.window *= 0.7
        elif self.since_s < 0:
            self.window += self.window / rtt_s * STEP_S
        else:
            segments = self.most / SEGMENT
            turn_s = (segments * 0.3 / 0.4) ** (1 / 3)
            goal = SEGMENT * (0.4 * (now_s - self.since_s - turn_s) ** 3 + segments)
            self.window = max(self.window, goal)


@dataclass
class Line:
    """A line with a drop-tail queue before it, our upload, and at times another one. Everything flows."""

    rate: float
    base_s: float
    now_s: float = 0.0
    other: Cubic | None = None
    jitter_s: float = 0.0
    srtt_s: float = 0.0
    queue_s: float = QUEUE_S
    polite: Polite | None = field(default_factory=lambda: Polite(0.0))
    log: list[tuple[float, float, float, float]] = field(default_factory=list)
    _queues: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _way_back: deque[tuple[float, float]] = field(default_factory=deque)
    _acked: float = 0.0
    _look_s: float = 0.0
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self.now_s < until_s:
            if self.polite and self.now_s >= self._look_s:
                self._look_s += LOOK_EVERY_S
                rtt_s = self.srtt_s + self._chance.uniform(0, self.jitter_s)
                self.polite.see([Sight("server", 1, rtt_s, int(self._acked))], self.now_s)
            self._step()
            self.now_s += STEP_S

    def _step(self) -> None:
        rtt_s = self.base_s + sum(self._queues) / self.rate
        self._queues[0] += self.polite.rate_bytes_s * STEP_S if self.polite else 0.0
        self._queues[1] += self.other.window / rtt_s * STEP_S if self.other else 0.0
        waiting = sum(self._queues)
        part = min(1.0, self.rate * STEP_S / waiting) if waiting else 0.0
        ours, theirs = (queue * part for queue in self._queues)
        kept = min(1.0, self.queue_s * self.rate / (waiting - ours - theirs)) if waiting > ours + theirs else 1.0
        self._queues = [(queue * (1 - part)) * kept for queue in self._queues]
        if self.other:
            self.other.step(self.now_s, rtt_s, lost=kept < 1)
        rtt_s = self.base_s + sum(self._queues) / self.rate
        self._way_back.append((self.now_s + self.base_s, ours))
        while self._way_back and self._way_back[0][0] <= self.now_s:
            acked = self._way_back.popleft()[1]
            self._acked += acked
            self.srtt_s = self.srtt_s or self.base_s
            self.srtt_s += (rtt_s - self.srtt_s) * (1 - 0.875 ** (acked / SEGMENT))
        self.log.append((self.now_s, sum(self._queues) / self.rate, ours, theirs))

    def share(self, first_s: float, last_s: float) -> tuple[float, float]:
        """What part of the line we used, and what part the other."""
        seen = [(ours, theirs) for at_s, _, ours, theirs in self.log if first_s <= at_s < last_s]
        whole = self.rate * (last_s - first_s)
        return sum(ours for ours, _ in seen) / whole, sum(theirs for _, theirs in seen) / whole

    def delay_s(self, first_s: float, last_s: float, part: float = 0.95) -> float:
        """What delay the queue added at most in that part of the time."""
        seen = sorted(queue_s for at_s, queue_s, _, _ in self.log if first_s <= at_s < last_s)
        return seen[int(part * (len(seen) - 1))]


def some_line(chance: random.Random) -> Line:
    """A home's or an office's uplink: 0.4 to 200 Mbit/s, 5 to 600 ms away, up to two seconds of queue before it."""
    rate, base_s = 50e3 * 500 ** chance.random(), 0.005 * 120 ** chance.random()
    return Line(rate, base_s, queue_s=0.1 * 20 ** chance.random())


def ordinary(line: Line) -> Line:
    """The same line with one ordinary connection on it instead of the polite upload."""
    return Line(line.rate, line.base_s, other=Cubic(), queue_s=line.queue_s, polite=None)

"""A polite upload on lines that are made up: a queue before a bottleneck, and others who send through it."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from engine.core.polite import LEAST_BYTES_S, MEASURE_EVERY_S, MEASURE_S, TARGET_S, Modest, Polite, Sight

STEP_S = 0.005
LOOK_EVERY_S = 0.1  # half as often as it is in earnest while pieces go
SEGMENT = 1448
QUEUE_S = 0.25
DSL = (1.25e6, 0.040)


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
    polite: Polite = field(default_factory=lambda: Polite(0.0))
    log: list[tuple[float, float, float, float]] = field(default_factory=list)
    _queues: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _way_back: deque[tuple[float, float]] = field(default_factory=deque)
    _acked: float = 0.0
    _look_s: float = 0.0
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self.now_s < until_s:
            if self.now_s >= self._look_s:
                self._look_s += LOOK_EVERY_S
                rtt_s = self.srtt_s + self._chance.uniform(0, self.jitter_s)
                self.polite.see([Sight("server", 1, rtt_s, int(self._acked))], self.now_s)
            self._step()
            self.now_s += STEP_S

    def _step(self) -> None:
        rtt_s = self.base_s + sum(self._queues) / self.rate
        self._queues[0] += self.polite.rate_bytes_s * STEP_S
        self._queues[1] += self.other.window / rtt_s * STEP_S if self.other else 0.0
        waiting = sum(self._queues)
        part = min(1.0, self.rate * STEP_S / waiting) if waiting else 0.0
        ours, theirs = (queue * part for queue in self._queues)
        kept = min(1.0, QUEUE_S * self.rate / (waiting - ours - theirs)) if waiting > ours + theirs else 1.0
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


@pytest.mark.parametrize(
    ("rate", "base_s", "full_after_s"),
    [(125e3, 0.03, 5), (1.25e6, 0.02, 8), (*DSL, 8), (2.5e6, 0.08, 10), (1.25e6, 0.2, 20), (12.5e6, 0.05, 15)],
)
def test_an_idle_line_is_used_and_its_queue_is_not(rate: float, base_s: float, full_after_s: float) -> None:
    """Nineteen twentieths of what it carries, under 50 ms of delay at every moment, and under 30 as a rule."""
    line = Line(rate, base_s)
    line.run(60)
    assert line.share(full_after_s, 60)[0] >= 0.95
    assert line.delay_s(0, 60, 1.0) < 0.050
    assert line.delay_s(full_after_s, 60) < 0.030


@pytest.mark.parametrize(("rate", "base_s"), [DSL, (2.5e6, 0.08), (12.5e6, 0.05)])
def test_whoever_else_sends_has_the_line_and_its_rest_is_taken_back(rate: float, base_s: float) -> None:
    """An ordinary upload gets all but a little, and soon after its end the line is ours again."""
    line = Line(rate, base_s)
    line.run(20)
    line.other = Cubic()
    line.run(50)
    line.other = None
    line.run(70)
    assert line.share(25, 50)[1] >= 0.95
    assert line.share(53, 70)[0] >= 0.95
    assert line.delay_s(53, 70, 1.0) < 0.050


def test_it_never_starves() -> None:
    """Beside somebody who never lets go there are 16 KiB/s left for us."""
    line = Line(*DSL, other=Cubic())
    line.run(60)
    assert line.share(20, 60)[0] >= 0.9 * LEAST_BYTES_S / line.rate


def test_a_line_that_was_busy_when_it_began() -> None:
    """The others' queue is taken for the path until it empties; then what the path is, is seen at once."""
    line = Line(*DSL, other=Cubic())
    line.run(30)
    assert line.share(10, 30)[1] >= 0.9
    line.other = None
    line.run(60)
    assert line.share(40, 60)[0] >= 0.95
    assert line.delay_s(35, 60) < 0.030


def test_who_stood_in_his_own_queue_since_he_came() -> None:
    """A queue that never emptied is found out when it is let run dry, and is not held from then on."""
    line = Line(*DSL)
    line.polite.see([Sight("server", 1, line.base_s + 0.08, 1)], 0.0)  # the least RTT that was ever seen: too much
    line.srtt_s = line.base_s + 0.08
    line._queues[0] = 0.08 * line.rate
    line.run(90)
    assert line.delay_s(60, 90) < 0.030


def test_a_route_that_becomes_longer_and_shorter() -> None:
    """It is held for a queue until it has not moved for a while; a shorter one is seen at once."""
    line = Line(*DSL)
    line.run(20)
    line.base_s += 0.06
    line.run(100)
    line.base_s -= 0.06
    line.run(120)
    assert line.share(20, 35)[0] <= 0.3
    assert line.share(60, 100)[0] >= 0.95
    assert line.share(103, 120)[0] >= 0.9
    assert line.delay_s(22, 120) < 0.050


def test_a_line_that_jitters() -> None:
    """Noise of 10 ms in what the kernel tells costs little of the line."""
    line = Line(*DSL, jitter_s=0.010)
    line.run(60)
    assert line.share(10, 60)[0] >= 0.85
    assert line.delay_s(10, 60) < 0.050


def test_who_has_little_to_send_is_not_given_more() -> None:
    """A rate that is not used does not grow, so that what comes later does not come as a flood."""
    polite = Polite(0.0)
    for look in range(1, 200):
        polite.see([Sight("server", 1, 0.04, look * 1000)], look * 0.1)  # 10 kB/s
    assert polite.rate_bytes_s < 200_000


def test_of_two_connections_over_one_path_the_quicker_counts() -> None:
    """A retransmission on one connection is no queue; another path's queue is one."""
    polite = Polite(0.0)
    for look in range(1, 20):
        both = [Sight("a", 1, 0.04, look * 9000), Sight("a", 2, 0.04 + 0.2 * (look > 10), look * 9000)]
        polite.see([*both, Sight("b", 3, 0.1, look * 9000)], look * 0.1)
    assert polite.delay_s == pytest.approx(0.0, abs=0.001)
    polite.see([Sight("b", 3, 0.1 + 2 * TARGET_S, 10**6)], 2.0)
    assert polite.delay_s > TARGET_S


def test_where_no_round_trip_is_told() -> None:
    """Half of what was taken in two seconds, and that is measured anew every minute."""
    modest = Modest(0.0)
    assert modest.rate_bytes_s(0.0) is None
    modest.took(2_000_000)
    assert modest.rate_bytes_s(MEASURE_S) == 500_000
    modest.took(10**9)
    assert modest.rate_bytes_s(MEASURE_S + MEASURE_EVERY_S - 1) == 500_000
    now_s = MEASURE_S + MEASURE_EVERY_S
    assert modest.rate_bytes_s(now_s) is None
    assert modest.rate_bytes_s(now_s + MEASURE_S) is None  # nothing was sent meanwhile
    modest.took(1000)
    assert modest.rate_bytes_s(now_s + MEASURE_S) == LEAST_BYTES_S

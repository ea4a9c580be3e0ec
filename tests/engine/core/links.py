"""A link with some TCP flows on it, in a few lines of arithmetic: enough to ask how many of them it has use for.

Each flow has a window that doubles until its first loss, then follows CUBIC (RFC 9438): seven tenths of it remain after
a loss, and it grows back with the cube of the time since. Packets are lost by chance, and when the queue overflows. A
round trip takes what the queue adds to the link's own delay. Time goes in steps of one round trip.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from engine.core.control import LaneControl, Traffic

PACKET_BYTES = 1448
CUBIC_C = 0.4
CUBIC_BETA = 0.7
FIRST_WINDOW = 10.0


@dataclass(frozen=True, slots=True)
class Link:
    """What a link is like."""

    rate_bytes_s: float
    rtt_s: float
    loss: float
    queue_s: float

    @property
    def packets_s(self) -> float:
        """How many packets it carries in a second."""
        return self.rate_bytes_s / PACKET_BYTES


def some_link(chance: random.Random) -> Link:
    """Any link between a bad mobile one and a good office, and long ones."""
    rate = 10 ** chance.uniform(5.0, 7.4)
    rtt = 10 ** chance.uniform(-2.0, -0.2)
    loss = 0.0 if chance.random() < 0.3 else 10 ** chance.uniform(-4.0, -1.5)
    return Link(rate, rtt, loss, chance.choice([0.02, 0.05, 0.1, 0.25, 0.5]))


@dataclass(slots=True)
class _Flow:
    """One connection."""

    ready_s: float
    window: float = FIRST_WINDOW
    slow_start: bool = True
    most: float = 0.0
    since_s: float = 0.0

    def grew(self, now_s: float) -> None:
        """A round trip without a loss."""
        if self.slow_start:
            self.window *= 2
            return
        lasted_s = now_s - self.since_s
        plateau_s = (self.most * (1 - CUBIC_BETA) / CUBIC_C) ** (1 / 3)
        cubic = CUBIC_C * (lasted_s - plateau_s) ** 3 + self.most
        self.window = min(max(self.window + 0.53, cubic), 1.5 * self.window)

    def lost(self, now_s: float) -> None:
        """A packet was lost."""
        self.most, self.window = self.window, max(2.0, CUBIC_BETA * self.window)
        self.slow_start, self.since_s = False, now_s


@dataclass(slots=True)
class Road:
    """The link with what travels on it."""

    link: Link
    chance: random.Random
    now_s: float = 0.0
    acked_bytes: float = 0.0
    rtt_s: float = 0.0
    base_s: float = field(default=9e9)
    flows: list[_Flow] = field(default_factory=list)

    def step(self, lanes: int) -> None:
        """One round trip with so many flows."""
        link = self.link
        while len(self.flows) < lanes:
            self.flows.append(_Flow(self.now_s + 2 * max(link.rtt_s, self.rtt_s)))
        del self.flows[lanes:]
        sending = [flow for flow in self.flows if flow.ready_s <= self.now_s]
        offered = sum(flow.window for flow in sending)
        pipe, room = link.packets_s * link.rtt_s, link.packets_s * link.queue_s
        queued = min(max(0.0, offered - pipe), room)
        self.rtt_s = link.rtt_s + queued / link.packets_s
        overflow = max(0.0, offered - pipe - room) / offered if offered else 0.0
        for flow in sending:
            missing = 1 - (1 - link.loss) ** flow.window * (1 - min(1.0, 4 * overflow))
            if self.chance.random() < missing:
                flow.lost(self.now_s)
            else:
                flow.grew(self.now_s)
        carried = min(offered, link.packets_s * self.rtt_s)
        self.acked_bytes += carried * (1 - link.loss) * PACKET_BYTES
        self.base_s = min(self.base_s, self.rtt_s)
        self.now_s += self.rtt_s

    def traffic(self) -> Traffic:
        """What the control is shown."""
        sending = sum(flow.ready_s <= self.now_s for flow in self.flows)
        noise = self.chance.uniform(0.98, 1.04)
        return Traffic(self.now_s, int(self.acked_bytes), sending, self.rtt_s * noise, self.base_s)


def fixed(link: Link, lanes: int, seconds: float, seed: int) -> float:
    """Bytes a second with so many lanes from the beginning."""
    road = Road(link, random.Random(seed))
    while road.now_s < seconds:
        road.step(lanes)
    return road.acked_bytes / road.now_s


def controlled(link: Link, seconds: float, seed: int, control: LaneControl | None = None) -> float:
    """Bytes a second with as many lanes as the control finds."""
    road, control = Road(link, random.Random(seed)), control or LaneControl()
    while road.now_s < seconds:
        road.step(control.lanes)
        control.see(road.traffic())
    return road.acked_bytes / road.now_s

"""When a connection is dead: what a watcher makes of what it sees. Pure; told the time.

Theory of operation. TCP alone finds a dead path late: it sends again after pauses that double, up to two minutes
(RFC 6298 section 5.5), so a link that was away for half a minute is used again up to half a minute after its return,
and a path that a NAT forgot is never. The watcher therefore looks at what the peer's kernel has acknowledged, and

* *doubts* a connection on which nothing is heard for longer than an answer could take; what an answer takes is the
  kernel's own measurement (smoothed RTT and its variation, RFC 6298 section 2), so a link with half a minute of
  queue is given its minute, and a link that moves, however slowly, is never doubted;
* *tries* doubted connections by a fresh one to the same place, begun twice a second, later once, until one is answered;
* calls a doubted connection *dead* when a fresh one was answered and the old one has still not been heard of. Not
  before: while nothing gets through, nothing is gained by cutting.

A connection that was cut without having moved a byte doubles the patience with its successor: two links of which the
fresh connection always wins (a path that only passes small packets, say) must not become a loop.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_DOUBLINGS: Final = 16
LOST_PROBES: Final = 3
HEAD_BYTES: Final = 4096  # a request's head; more than this acknowledged means that full packets pass


class Phase(Enum):
    """What a connection's exchange is at; `READ_LATE` and `WAITING` are the server's work."""

    CONNECTING = auto()
    SENDING = auto()  # bytes are to be written, or were written and are not acknowledged
    DRAINING = auto()  # all are written, not all are acknowledged by the peer's kernel
    READ_LATE = auto()  # the peer's kernel has no room: its program does not read
    PAUSED = auto()  # all that was written is acknowledged, and the rest is ours to write
    WAITING = auto()  # all is acknowledged: the reply is awaited


_OWES_ANSWERS: Final = frozenset({Phase.SENDING, Phase.DRAINING, Phase.READ_LATE})


class Patience(Struct, frozen=True):
    """How soon a connection is doubted, in seconds."""

    silence_s: float = 1.0  # unanswered: three times the slowest usual RTT; a loss is mended within it at 0.3 s of RTT
    connect_s: float = 0.7  # a lost SYN is sent again only after 1 s (RFC 6298 section 2.1); another costs 60 bytes
    quiet_s: float = 2.5  # waiting: two probes a second apart, and half a second for the answer
    unread_s: float = 20.0  # the peer's program reads nothing: a disk that syncs takes seconds, rarely more
    blind_s: float = 90.0  # where only writes are seen: a piece of 64 KiB takes 26 s at 20 kbit/s, behind as much queue
    longest_s: float = 60.0  # doubling ends here: so long a path that comes back is not tried
    answers: float = 2.0  # times the usual time of an answer: one retransmission has had its chance
    retry_soon_s: float = 0.5  # the kernel sends again by itself so soon that to connect anew would gain nothing
    costly_s: float = (
        10.0  # a connection whose loss costs all bytes sent has so long on a link that is known to be good
    )


class Sample(Struct, frozen=True):
    """What is known of a connection at one moment.

    `acked_bytes` is what the peer's kernel has acknowledged since the connection began; where `blind`, what the socket
    has taken. `heard_ago_s` is the age of the last segment from the peer, None where that cannot be known. `answer_s`
    is what an answer takes at most, as a rule: the smoothed RTT and four times its variation. `retry_in_s` is when the
    kernel will send again by itself. `probes_lost` counts unanswered probes of a closed window. `rtt_s` is the smoothed
    RTT, and `base_rtt_s` the least that the connection has seen; 0 where the kernel does not tell.
    """

    connected: bool = True
    acked_bytes: int = 0
    unacked: bool = False
    unsent: bool = False
    all_written: bool = False
    heard_ago_s: float | None = None
    answer_s: float = 0.0
    retry_in_s: float | None = None
    probes_lost: int = 0
    blind: bool = False
    rtt_s: float = 0.0
    base_rtt_s: float = 0.0

    @property
    def phase(self) -> Phase:
        """What the connection is at."""
        if not self.connected:
            return Phase.CONNECTING
        if self.blind:
            return Phase.WAITING if self.all_written else Phase.SENDING
        if self.unacked:
            return Phase.DRAINING if self.all_written else Phase.SENDING
        if self.unsent:
            return Phase.READ_LATE
        return Phase.WAITING if self.all_written else Phase.PAUSED


class Trial:
    """A test whether anything gets through to one place: fresh connections until one is answered."""

    KNOCK_EVERY_S: Final = (
        0.5  # a link that is back stays unnoticed for half of it on average; costs 120 bytes a second
    )
    LATER_EVERY_S: Final = 1.0
    LATER_S: Final = 30.0  # most outages of a train or a lid are shorter
    SECOND_KNOCK_S: Final = 0.4  # the first may have met the one lost packet in a hundred
    KNOCK_FOR_S: Final = 15.0  # each may take so long, and overlaps the next: a satellite in a storm answers late
    OUTAGE_S: Final = 1.2  # an answer that took longer than this came to a repeated knock: the link was away
    LONGEST_GRACE_S: Final = 1.0
    HOPELESS_S: Final = 3.0  # unanswered for so long: said to be an outage

    def __init__(self, now_s: float) -> None:
        self.began_s = now_s
        self.answered_s: float | None = None
        self.round_trip_s = 0.0
        self.knocks = 0
        self._next_s = now_s

    def due(self, now_s: float, chance: float) -> bool:
        """Whether to knock now. `chance` in [0, 1) spreads the knocks of many clients behind one link."""
        if self.answered_s is not None or now_s < self._next_s:
            return False
        self.knocks += 1
        later_s = self.KNOCK_EVERY_S if now_s - self.began_s < self.LATER_S else self.LATER_EVERY_S
        usual_s = self.SECOND_KNOCK_S if self.knocks == 1 else later_s
        self._next_s = now_s + usual_s * (0.75 + 0.5 * chance)
        return True

    def answered(self, now_s: float, round_trip_s: float) -> None:
        """A fresh connection got through, after `round_trip_s`."""
        if self.answered_s is None:
            self.answered_s, self.round_trip_s = now_s, min(round_trip_s, self.LONGEST_GRACE_S)

    @property
    def after_outage(self) -> bool:
        """Whether nothing got through when the trial began."""
        return self.answered_s is not None and self.answered_s - self.began_s > self.OUTAGE_S

    def hopeless(self, now_s: float) -> bool:
        """Whether it is time to say that nothing answers."""
        return self.answered_s is None and now_s - self.began_s >= self.HOPELESS_S


class Guard:
    """Judges one connection for the length of one exchange; is shown samples and told the time.

    `strikes` counts the connections before this one that were cut without having moved a byte. `costly` marks an
    exchange whose repetition costs all it has sent, or makes the server begin a long work anew. `reply_s` limits the
    wait for a reply beyond which the reply itself is doubted.
    """

    def __init__(
        self,
        now_s: float,
        patience: Patience,
        *,
        strikes: int = 0,
        costly: bool = False,
        reply_s: float | None = None,
    ) -> None:
        self._patience = patience
        self._factor = 2.0 ** min(strikes, _MAX_DOUBLINGS)
        self._costly = costly
        self._reply_s = reply_s
        self._sample = Sample(connected=False)
        self._heard_s = now_s
        self._moved_s = now_s
        self._since_s = now_s
        self._first_bytes = self._acked_bytes = 0
        self._retry_at_s: float | None = None
        self._trial: Trial | None = None
        self._grace_s = 0.0
        self.moved = False

    @property
    def phase(self) -> Phase:
        """What the connection was at when last seen."""
        return self._sample.phase

    @property
    def since_s(self) -> float:
        """When that phase began."""
        return self._since_s

    def see(self, sample: Sample, now_s: float) -> None:
        """Take note of a sample."""
        before, self._sample = self._sample, sample
        if sample.phase is not before.phase:
            self._since_s = now_s
            if sample.phase in _OWES_ANSWERS and before.phase not in _OWES_ANSWERS:
                self._heard_s = self._moved_s = now_s  # nothing was due until now
        if not before.connected:
            self._heard_s = now_s
            self._first_bytes = self._acked_bytes = sample.acked_bytes
        elif sample.acked_bytes > self._acked_bytes:
            self._heard_s = self._moved_s = now_s
            self._acked_bytes = sample.acked_bytes
            self.moved = self.moved or sample.acked_bytes - self._first_bytes > HEAD_BYTES
        if sample.heard_ago_s is not None:
            self._heard_s = max(self._heard_s, now_s - sample.heard_ago_s)
        self._retry_at_s = None if sample.retry_in_s is None else now_s + max(0.0, sample.retry_in_s)

    def doubtful(self, now_s: float) -> bool:
        """Whether it is time to try a fresh connection."""
        return any(now_s - life_s >= limit_s for life_s, limit_s in self._lives())

    def dead(self, trial: Trial, now_s: float) -> bool:
        """Whether `trial` has shown that this connection, unlike the link, is gone."""
        if trial.answered_s is None:
            return False
        if trial is not self._trial:
            self._face(trial, trial.answered_s)
        if now_s < trial.answered_s + self._grace_s:
            return False
        if trial.after_outage and self.phase is Phase.WAITING and not self._costly and self._since_s < trial.began_s:
            return True  # the reply may lie behind the server's own doubled pauses; to ask anew is cheaper
        return any(now_s - life_s >= limit_s and life_s <= trial.began_s for life_s, limit_s in self._lives())

    def _face(self, trial: Trial, answered_s: float) -> None:
        """A trial was answered: settle how long after that the connection may still show that it lives."""
        self._trial = trial
        until_retry_s = max(0.0, (self._retry_at_s or 0.0) - answered_s)
        if self._costly:
            self._grace_s = max(self._patience.costly_s, until_retry_s + trial.round_trip_s)
        elif not trial.after_outage:
            self._grace_s = 0.0  # the link was there all along, and the trial itself took a round trip
        elif until_retry_s <= self._patience.retry_soon_s:
            self._grace_s = until_retry_s + trial.round_trip_s
        else:
            self._grace_s = trial.round_trip_s
        if trial.after_outage:
            self._moved_s = max(self._moved_s, answered_s)  # nothing could move while the link was away

    def outlived(self, trial: Trial, now_s: float) -> bool:
        """Whether it is doubted, and was alive after `trial` began, so that only a new one can tell."""
        return trial.answered_s is not None and any(
            now_s - life_s >= limit_s and life_s > trial.began_s for life_s, limit_s in self._lives()
        )

    def heard_since(self, moment_s: float) -> bool:
        """Whether the peer was heard of after that moment."""
        return self.phase is not Phase.CONNECTING and not self._sample.blind and self._heard_s > moment_s

    def _lives(self) -> Iterator[tuple[float, float]]:
        """For each sign of life that is due in this phase: when it was last seen, and how long it may stay away."""
        patience, sample = self._patience, self._sample
        match self.phase:
            case Phase.CONNECTING:
                yield self._since_s, self._grown_s(patience.connect_s)
            case Phase.SENDING | Phase.DRAINING if sample.blind:
                yield self._moved_s, self._grown_s(patience.blind_s)
            case Phase.SENDING | Phase.DRAINING:
                yield self._heard_s, self._grown_s(patience.silence_s)
                yield self._moved_s, self._grown_s(patience.unread_s)
            case Phase.READ_LATE:
                yield self._moved_s, self._grown_s(patience.unread_s)
                if sample.probes_lost >= LOST_PROBES:
                    yield self._heard_s, self._grown_s(patience.quiet_s)
            case Phase.WAITING | Phase.PAUSED:
                if not sample.blind:
                    yield self._heard_s, self._grown_s(patience.quiet_s)
                if self.phase is Phase.WAITING and self._reply_s is not None:
                    yield self._since_s, self._reply_s * self._factor

    def _grown_s(self, usual_s: float) -> float:
        doubled_s = max(usual_s, min(usual_s * self._factor, self._patience.longest_s))
        return max(doubled_s, self._patience.answers * self._sample.answer_s)


class ReplyTimes:
    """Learns how long replies take, from the last byte's acknowledgement on, to notice one that will not come.

    A box on the way may acknowledge bytes and probes for a server that it no longer reaches; then only time tells.
    """

    KEPT: Final = 20
    ENOUGH: Final = 5
    FLOOR_S: Final = 30.0  # a disk or a lock may hold any one reply so long
    UNKNOWN_S: Final = 60.0  # before enough is known; a server that needs longer is given twice as long each time
    TIMES: Final = 4.0

    def __init__(self) -> None:
        self._seen_s: deque[float] = deque(maxlen=self.KEPT)

    def took(self, seconds: float) -> None:
        """A reply came."""
        self._seen_s.append(seconds)

    def limit_s(self) -> float:
        """Four times the ninetieth percentile, and at least half a minute."""
        if len(self._seen_s) < self.ENOUGH:
            return self.UNKNOWN_S
        ninetieth_s = sorted(self._seen_s)[int(0.9 * (len(self._seen_s) - 1))]
        return max(self.FLOOR_S, self.TIMES * ninetieth_s)

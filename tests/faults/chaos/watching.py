"""Looks on while one run of the command is at work, does to it what its life holds, and tells when it hangs."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.chaos.course import Course
    from tests.faults.chaos.scenario import Blow, Life
    from tests.faults.chaos.weather import Moment
    from tests.faults.command import Command

_GLANCE_S: Final = 0.004  # short against any request, so that what is to happen happens where it was meant to
_SAMPLES_EVERY_S: Final = 0.1
PATIENCE_S: Final = 20.0  # without progress, beyond what the client said it would wait and the link was dead
LIFE_S: Final = 150.0  # for one run, whatever it says meanwhile
_DUMPING_S: Final = 1.0
_NO_PROGRESS: Final = frozenset({"waiting", "warned"})


@dataclass(slots=True)
class Deed:
    """Something to be done at a moment; it may give what is to be done next."""

    at: Moment | float
    do: Callable[[], Deed | None]


@dataclass(slots=True)
class Watch:
    """One run under observation.

    Attributes:
        blow: the signal that hit it, if one did.
        phase: what it was doing then.
        hung: it made no sign for too long, so it was asked for its stacks and killed.
    """

    course: Course
    command: Command
    life: Life
    blow: str = ""
    phase: str = ""
    hung: bool = False
    _began_s: float = field(default_factory=time.monotonic)
    _signs_s: dict[str, float] = field(default_factory=dict)
    _seen_events: int = 0
    _progress: tuple[int, int] = (-1, -1)
    _patient_until_s: float = 0.0
    _sampled_s: float = 0.0
    _began_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self._began_bytes = self.course.elements.proxy.bytes_from_clients

    def to_the_end(self) -> None:
        """Look on until the command is gone."""
        deeds = self._deeds()
        while not self.command.ended:
            self._hear()
            for deed in [deed for deed in deeds if self._is_due(deed.at)]:
                deeds.remove(deed)
                following = deed.do()
                if following is not None:
                    deeds.append(following)
            self._mind_progress()
            time.sleep(_GLANCE_S)
        for deed in deeds:
            if isinstance(deed.at, float):  # what was begun is brought to its end
                deed.do()

    def _deeds(self) -> list[Deed]:
        elements, life = self.course.elements, self.life
        deeds = [Deed(spell.at, partial(elements.begin, spell, life)) for spell in life.spells]
        if life.restart is not None:
            deeds.append(Deed(life.restart.at, partial(elements.restart, life.restart)))
        if life.blow is not None:
            deeds.append(Deed(life.blow.at, partial(self._strike, life.blow)))
        return deeds

    def _hear(self) -> None:
        """Take note of what the command has said since the last look."""
        now_s = time.monotonic()
        for event in self.command.events[self._seen_events :]:
            self._seen_events += 1
            self._signs_s.setdefault(str(event["event"]), now_s)
            self._signs_s.setdefault("", now_s)
            if event["event"] == "waiting":  # nobody knows for how long: until the link is back, or the server is done
                said_s = LIFE_S if event["seconds"] is None else float(str(event["seconds"]))
                self._patient_until_s = max(self._patient_until_s, now_s + said_s + PATIENCE_S)
        if now_s - self._sampled_s > _SAMPLES_EVERY_S:
            self._sampled_s = now_s
            self.command.sample()
            self.course.elements.transcribe()

    def _is_due(self, at: Moment | float) -> bool:
        now_s = time.monotonic()
        if isinstance(at, float):
            return now_s >= at
        if at.kind == "s":
            return now_s >= self._began_s + at.value
        if at.kind == "share":
            sent_bytes = self.course.elements.proxy.bytes_from_clients - self._began_bytes
            return "" in self._signs_s and sent_bytes >= at.value * self.course.left_bytes
        told_s = self._signs_s.get(at.kind)
        return told_s is not None and now_s >= told_s + at.value

    def _strike(self, blow: Blow) -> Deed | None:
        gentle = blow.signal != "SIGKILL"
        if gentle and "" not in self._signs_s:  # an interpreter that still starts answers a signal in its own way
            return Deed(time.monotonic() + _GLANCE_S, partial(self._strike, blow))
        self.phase = phase_of(self.command.events)
        self.blow = blow.signal
        self.course.elements.hurt_all()
        self.command.process.send_signal(signal.Signals[blow.signal])
        return None

    def _mind_progress(self) -> None:
        """Give the command up when it shows none for too long."""
        now_s = time.monotonic()
        told = sum(event["event"] not in _NO_PROGRESS for event in self.command.events)
        progress = (self.course.elements.proxy.bytes_up, told)
        if progress != self._progress or self.course.elements.is_link_dead:
            self._progress = progress
            self._patient_until_s = max(self._patient_until_s, now_s + PATIENCE_S)
        if now_s < min(self._patient_until_s, self._began_s + LIFE_S):
            return
        self.hung = True
        self.phase = phase_of(self.command.events)
        self.command.process.send_signal(signal.SIGUSR1)
        time.sleep(_DUMPING_S)
        self.command.kill_now()


def phase_of(events: Sequence[dict[str, object]]) -> str:
    """What a client is doing that has told this much."""
    told = [event for event in events if event["event"] not in _NO_PROGRESS]
    if not told:
        return "starting"
    last = told[-1]
    match last["event"]:
        case "uploaded" if last["acked_bytes"] == last["total_bytes"]:
            return "submitting"
        case "uploaded":
            return "sending" if last["acked_bytes"] or last["unconfirmed_bytes"] else "creating"
        case "submitted" | "polled" | "transferred":
            return "waiting for the result"
        case "completed" | "failed":
            return "ending"
    return "planning"

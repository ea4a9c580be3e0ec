"""All that befalls the way between command and service, done as a scenario holds it, and accounted for."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tests.faults.chaos.watching import Deed
from tests.faults.connection import STORMED
from tests.faults.plan import Plan

if TYPE_CHECKING:
    from tests.faults.chaos.scenario import Life, Restart, Scenario
    from tests.faults.chaos.weather import Spell
    from tests.faults.connection import Connection
    from tests.faults.proxy import FaultProxy
    from tests.faults.service import Service

_STALE_S: Final = 1.5  # after a rebinding the dead connections are reset: a middlebox forgets nobody for ever
_STARTING_S: Final = 2.0  # of the service, on a busy machine
_SETTLED_GLANCES: Final = 5
_STORM_S: Final = 0.1  # the oldest that a connection gets in one
_IN_FLIGHT_BYTES: Final = 4 << 20  # what the buffers of two sockets and a proxy can hold when a connection dies
_REQUEST_BYTES: Final = 1 << 10  # a head, or a body that is not the recording's
_URL_ID: Final = re.compile(rb"/v1/uploads/([A-Za-z0-9_-]{20,})")


@dataclass(slots=True)
class Elements:
    """The link and the service of one scenario.

    Attributes:
        injected: what was done, by name.
        secrets: ids of uploads that went over the link, which only their owner may know.
    """

    scenario: Scenario
    service: Service
    proxy: FaultProxy
    injected: Counter[str] = field(default_factory=Counter)
    secrets: set[str] = field(default_factory=set)
    _dead_until_s: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)
    _known_connections: int = 0

    @property
    def is_link_dead(self) -> bool:
        """Whether nobody can expect progress just now."""
        return time.monotonic() < self._dead_until_s

    def transcribe(self) -> None:
        """Be the transcriber."""
        if self.scenario.transcribed_after_s:
            self.service.transcribe_older_than(self.scenario.transcribed_after_s)

    def begin(self, spell: Spell, life: Life) -> Deed | None:
        """Let a spell come over the link; returns what ends it."""
        self.injected[spell.kind] += 1
        link = self.scenario.link
        match spell.kind:
            case "reset":
                self.proxy.cut_all()
                return None
            case "storm":
                self.proxy.plan = Plan(otherwise=replace(link, cut_within_s=_STORM_S), seed=life.plan.seed)
            case _:
                # Each ends by itself: whoever connects in the last moment would otherwise be forgotten in it.
                hole = replace(link, black_hole_after_bytes=0, black_hole_for_s=spell.lasts_s)
                self.proxy.plan = Plan(otherwise=hole)
                self.proxy.black_hole_all()
        ends_s = time.monotonic() + spell.lasts_s
        self._dead_until_s = ends_s + _STALE_S * (spell.kind == "rebinding")
        return Deed(ends_s, lambda: self._end(spell, life))

    def restart(self, restart: Restart) -> None:
        """Have the service ended and started again in a thread, while others look on."""

        def again() -> None:
            self.service.kill(signal.Signals[restart.signal])
            time.sleep(restart.down_s)
            self.service.start()

        self.injected[f"service {restart.signal}"] += 1
        self.hurt_all()
        self._dead_until_s = time.monotonic() + restart.down_s + _STARTING_S
        thread = threading.Thread(target=again)
        thread.start()
        self._threads.append(thread)

    def hurt_all(self) -> None:
        """Whatever is open now may lose what is under way."""
        for connection in self.proxy.connections:
            connection.hurt = connection.hurt or not connection.ended

    def calm_down(self, *, late: bool) -> None:
        """Bring all that was begun to its end, and let what is on its way arrive; with `late` also what was held up."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if not late:
            self.proxy.cut_all()
        self.proxy.restore_all()
        self.proxy.plan = Plan(otherwise=self.scenario.link)
        seen: list[tuple[int, int]] = []
        while len(seen) < _SETTLED_GLANCES or len(set(seen[-_SETTLED_GLANCES:])) > 1:
            time.sleep(0.02)
            seen.append((self.service.held_bytes(), self.proxy.bytes_up))

    def take_stock(self, life: Life) -> tuple[int, int]:
        """Note what befell the connections of a life; returns what was sent over them, and what may be lost of it."""
        fresh = self.proxy.connections[self._known_connections :]
        self._known_connections = len(self.proxy.connections)
        for connection in fresh:
            self.injected.update(connection.suffered)
            self.secrets |= {found.decode() for found in _URL_ID.findall(bytes(connection.answers))}
        self.injected["stutter"] += len(fresh) * (life.plan.otherwise.stutter_s is not None)
        self.injected["replay"] += len(fresh) * (life.plan.otherwise.replay_after_s is not None)
        sent = [(connection.up.received_bytes, self._may_be_lost(connection)) for connection in fresh]
        return sum(up_bytes for up_bytes, _ in sent), sum(lost_bytes for _, lost_bytes in sent)

    def _end(self, spell: Spell, life: Life) -> None:
        self.proxy.plan = self._rest_of(life.plan)
        if spell.kind == "rebinding":
            stale = [connection for connection in self.proxy.connections if not connection.ended]
            forget = threading.Timer(_STALE_S, self.proxy.cut_all, kwargs={"which": stale})
            forget.start()
            self._threads.append(forget)
        elif spell.kind == "outage":
            self.proxy.restore_all()

    def _rest_of(self, plan: Plan) -> Plan:
        """The plan with as many breaks as it has left: a spell in between gives it no new ones."""
        if plan.at_most is None:
            return plan
        fresh = self.proxy.connections[self._known_connections :]
        spent = sum(what != STORMED for connection in fresh for what in connection.suffered)
        return replace(plan, at_most=max(0, plan.at_most - spent))

    def _may_be_lost(self, connection: Connection) -> int:
        """How much of what a client sent over a connection may have been for nothing."""
        answers = bytes(connection.answers).count(b"HTTP/1.1 ")
        heads_bytes = (answers + 2) * _REQUEST_BYTES
        if not connection.hurt:
            return heads_bytes
        if self.scenario.repeats_whole:
            return heads_bytes + connection.up.received_bytes
        swallowed_bytes = connection.up.received_bytes - connection.up.forwarded_bytes
        return heads_bytes + swallowed_bytes + min(connection.up.forwarded_bytes, _IN_FLIGHT_BYTES)

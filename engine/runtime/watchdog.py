"""Looks after every exchange under way: samples its connection, knocks where one is doubted, cuts the dead.

Nobody is employed for this. Whoever waits, for an exchange or for the link, offers to keep watch; one of them does, for
all, and the next one takes over when its own waiting ends. So nothing runs while nothing is under way.
"""

from __future__ import annotations

import ipaddress
import itertools
import logging
import socket
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio
from msgspec import Struct, field
from msgspec.structs import replace

from ..core.watchdog import Patience, ReplyTimes, Trial
from ..faults import Severed
from . import kernel
from .workforce import Workforce

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from ..core.watchdog import Guard, Sample
    from .clock import Clock
    from .link import Link

T = TypeVar("T")
log = logging.getLogger("speechstream.watchdog")

SAMPLE_EVERY_S: Final = 0.1  # a getsockopt takes microseconds
_ADDRESS_EVERY_S: Final = 1.0
SLEPT_S: Final = 2.0  # clocks that are only steered differ by less
_PEERS_TRIED: Final = 3  # a name with more addresses than these has one of them up
_LOOK_UP_EVERY: Final = 10  # knocks at known addresses to one question to the name service


Address: TypeAlias = tuple[str, int]


class Door(Struct, frozen=True):
    """The first hop of a connection: the server, or the proxy before it."""

    host: str
    port: int


class Errand(Struct):
    """One exchange under way, as the watchdog sees it.

    `read` samples its connection, `ends` names the connection's own address and its peer's once there is one, and
    `discard` has it closed at once. `bulk`: its request carries the artifact's bytes. `strike`: it was cut though the
    link had been there all along.
    """

    door: Door
    guard: Guard
    read: Callable[[], Sample]
    ends: Callable[[], tuple[Address, Address] | None]
    discard: Callable[[], None]
    bulk: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    cut: str | None = None
    strike: bool = False
    number: int = field(default_factory=itertools.count().__next__)

    def sever(self, why: str) -> None:
        """End the exchange now."""
        if self.cut is None:
            self.cut = why
            self.discard()
            self.scope.cancel()


class Senses(Struct, frozen=True):
    """How the watchdog learns of the world beyond its connections.

    `slept_s` is how far the clock that counts sleep is ahead, `local_address` where this machine would send from, and
    `knock` begins a fresh connection: the round trip in seconds once anything answered, else None.
    """

    slept_s: Callable[[], float] = kernel.slept_s
    local_address: Callable[[Address], str | None] = kernel.local_address
    knock: Callable[[Address], Awaitable[float | None]] = kernel.knock


class Watchdog:
    """One for all lines of an exchanger.

    `generation` grows when no older connection can be of use any more. `clock` is the one that connections live by.
    """

    def __init__(
        self,
        clock: Clock,
        link: Link,
        patience: Patience | None = None,
        senses: Senses | None = None,
        workforce: Workforce | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self.link = link
        self.generation = 0
        self.reply_times: defaultdict[str, ReplyTimes] = defaultdict(ReplyTimes)
        self.clock = clock
        self._senses = senses or Senses()
        self._workforce = workforce or Workforce()
        self._errands: list[Errand] = []
        self._trials: dict[Door, Trial] = {}
        self._peers: defaultdict[Door, dict[Address, None]] = defaultdict(dict)
        self._answers: dict[Door, float] = {}
        self._sources: dict[Address, str] = {}
        self._looked_s = float("-inf")
        self._slept_s = self._senses.slept_s()
        self._looking_up: set[Door] = set()
        self._on_duty = anyio.Lock()
        link.keeper = self.keep_watch

    async def over(self, errand: Errand, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work of one exchange while its connection is looked after.

        Raises:
            Severed: the connection was of no use any more and has been cut.
        """
        outcome: list[T] = []
        failure: Exception | None = None
        self._errands.append(errand)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.keep_watch)
                with errand.scope:
                    try:
                        outcome.append(await work())
                    except Exception as error:  # noqa: BLE001 - raised again below, outside the group that would wrap it
                        failure = error
                tasks.cancel_scope.cancel()
        finally:
            self._errands.remove(errand)
        if failure is not None:
            raise failure
        if not outcome:
            raise Severed(errand.cut or "the connection was given up")
        return outcome[0]

    async def keep_watch(self) -> None:
        """Offer to keep watch until cancelled: for all, when nobody else does."""
        async with self._on_duty, anyio.create_task_group() as knocks:
            while True:
                self._look_around(knocks)
                await self.clock.sleep(SAMPLE_EVERY_S)

    def notice_change(self) -> None:
        """Look whether this machine slept or moved; if so, no connection made before is of use."""
        now_s = self.clock.monotonic()
        before_s, self._slept_s = self._slept_s, self._senses.slept_s()
        if self._slept_s - before_s > SLEPT_S:
            self._start_afresh("this machine was asleep", self._errands)
        if now_s - self._looked_s >= _ADDRESS_EVERY_S:
            self._looked_s = now_s
            self._look_at_addresses()

    def no_network(self, door: Door, reason: str) -> None:
        """A connection could not even be begun: knock there until one can."""
        self._trials.setdefault(door, Trial(self.clock.monotonic()))
        self.link.went_down(0.0, reason)

    def _look_around(self, knocks: TaskGroup) -> None:
        now_s = self.clock.monotonic()
        self.notice_change()
        bulk: list[tuple[int, Sample]] = []
        for errand in self._errands:
            sample = self._with_usual_answer(errand.door, errand.read())
            errand.guard.see(sample, now_s)
            if errand.bulk:
                bulk.append((errand.number, sample))
            ends = errand.ends()
            if ends is not None:
                self._peers[errand.door][ends[1]] = None
        held = self.link.down or bool(self._trials)
        self._workforce.see(bulk, now_s, held=held, cpu_s=time.thread_time())
        self._choose_trials(now_s)
        for door, trial in self._trials.items():
            if trial.due(now_s, self.clock.chance()):
                self._knock(knocks, door, trial)
        self._judge(now_s)

    def _with_usual_answer(self, door: Door, sample: Sample) -> Sample:
        """A connection that is only being made knows nothing of the way; the others to the same place do."""
        if sample.connected:
            self._answers[door] = sample.answer_s
            return sample
        return replace(sample, answer_s=self._answers.get(door, 0.0))

    def _choose_trials(self, now_s: float) -> None:
        """Try every door behind which a connection is doubted; where one was heard of, that is an answer."""
        doubted = {errand.door for errand in self._errands if errand.guard.doubtful(now_s)}
        for door in doubted:
            trial = self._trials.get(door)
            if trial is None or any(e.guard.outlived(trial, now_s) for e in self._errands if e.door == door):
                self._trials[door] = Trial(now_s)
        for errand in self._errands:
            trial = self._trials.get(errand.door)
            if trial is not None and errand.guard.heard_since(trial.began_s):
                trial.answered(now_s, 0.0)
        if not self.link.down:
            self._trials = {door: trial for door, trial in self._trials.items() if door in doubted}

    def _judge(self, now_s: float) -> None:
        for errand in self._errands:
            trial = self._trials.get(errand.door)
            if trial is not None and errand.cut is None and errand.guard.dead(trial, now_s):
                errand.strike = not trial.after_outage
                log.info("the connection to %s is cut in mid-%s", errand.door.host, errand.guard.phase.name.lower())
                errand.sever("the old connection is dead: a new one gets through")
        trials = self._trials.values()
        began_s = min((trial.began_s for trial in trials), default=now_s)
        moving = any(errand.guard.heard_since(began_s) for errand in self._errands)
        if moving or any(trial.answered_s is not None for trial in trials):
            self.link.came_up()
        elif trials and all(trial.hopeless(now_s) for trial in trials):
            hosts = " nor ".join(sorted({door.host for door in self._trials}))
            self.link.went_down(
                now_s - began_s, f"nothing answers: this machine seems to be offline, or {hosts} is away"
            )

    def _knock(self, knocks: TaskGroup, door: Door, trial: Trial) -> None:
        peers = self._peers[door]
        if not peers and _is_address(door.host):
            peers[door.host, door.port] = None
        for address in list(peers)[-_PEERS_TRIED:]:
            knocks.start_soon(self._knock_at, address, trial)
        if door not in self._looking_up and (not peers or trial.knocks % _LOOK_UP_EVERY == 0):
            knocks.start_soon(self._look_up, door, trial)

    async def _knock_at(self, address: Address, trial: Trial) -> None:
        with anyio.move_on_after(Trial.KNOCK_FOR_S):
            round_trip_s = await self._senses.knock(address)
            if round_trip_s is not None:
                trial.answered(self.clock.monotonic(), round_trip_s)

    async def _look_up(self, door: Door, trial: Trial) -> None:
        """Ask the name service again: the address may be another one on another network."""
        self._looking_up.add(door)
        try:
            found = await anyio.getaddrinfo(door.host, door.port, type=socket.SOCK_STREAM)
        except OSError:
            return
        finally:
            self._looking_up.discard(door)
        async with anyio.create_task_group() as knocks:
            for *_, address in found:
                knocks.start_soon(self._knock_at, (address[0], address[1]), trial)

    def _look_at_addresses(self) -> None:
        for peer in {ends[1] for errand in self._errands if (ends := errand.ends()) is not None} | set(self._sources):
            source = self._senses.local_address(peer)
            if source is None:
                continue
            before = self._sources.get(peer, source)
            self._sources[peer] = source
            if source != before:
                mine = [e for e in self._errands if (ends := e.ends()) is not None and ends[0][0] != source]
                self._start_afresh("this machine has another address now", mine)

    def _start_afresh(self, why: str, errands: list[Errand]) -> None:
        self.generation += 1
        self._workforce.link_changed()
        for errand in errands:
            errand.sever(why)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

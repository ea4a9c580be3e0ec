"""Proves that no kill costs anything: uploads a recording while client or service are killed, and judges the end.

    python -m tests.faults.kills --size 64M --seed 1
    python -m tests.faults.kills --size 2G --kills 10
    python -m tests.faults.kills --kills 0 --server-kills 5
    python -m tests.faults.kills --size 20G --sparse --kills 3

The client is the real command, the service the real process; between them a proxy caps the rate, counts what goes
up and, for some kills, holds a request so that the client dies in the middle of it. Everything follows from the seed
except what the scheduler does. Exits with 1 when a judgement fails, and prints the command that repeats the run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.command import Command, environment
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.recording import sha256_of, write_sparse, write_wav
from tests.faults.service import Service
from tests.faults.verdict import Blow, Trial, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

_GLANCE_S: Final = 0.002  # short against any request, so that a kill falls where it was meant to
_PATIENCE_S: Final = 90.0
_JOINED_BYTES_S: Final = 50e6  # at least so fast a service joins and verifies an upload
_TRANSFER_S: Final = 6.0  # the uncut transfer's length that the proxy's cap aims at: room for many kills
_SETTLED_GLANCES: Final = 10  # of 20 ms each: what was in the buffers is on the disk
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Phase(StrEnum):
    """Where a client is when it is killed, in the order of a job's life."""

    OPENING = "planning, hashing"
    CREATION = "creating"
    SENDING = "in mid-part"
    BETWEEN = "upon an answer"
    SUBMITTING = "submitting"
    ANSWERING = "losing the answer"
    POLLING = "polling"


_P = Phase
_ORDER: Final = (
    *(_P.OPENING, _P.CREATION, _P.SENDING, _P.BETWEEN, _P.SENDING),
    *(_P.BETWEEN, _P.SENDING, _P.SUBMITTING, _P.ANSWERING, _P.POLLING),
)
_ORDER_OF_FEW: Final = (_P.SENDING, _P.BETWEEN, _P.SENDING)  # where each transfer is what takes the time
_APPEND: Final = "PATCH /v1/uploads"
_QUESTION: Final = "OPTIONS /v1/uploads"
_CREATION: Final = "POST /v1/uploads"
_SUBMISSION: Final = "POST /v1/upload HTTP"


@dataclass(slots=True)
class Course:
    """One recording's way to the service, under blows."""

    trial: Trial
    recording: Path
    service: Service
    proxy: FaultProxy
    chance: random.Random
    blows: list[Blow] = field(default_factory=list)
    _server_instants: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.trial.server_kills
        shares = [(index + self.chance.random()) / (count - 1) for index in range(count - 1)]
        if count:
            shares.append(1.0)  # the last one falls on the submission
        self._server_instants = [share * self.trial.size_bytes for share in shares]

    def strike(self, phase: Phase, share: float) -> None:
        """Run the command until it is in `phase`, and kill it there; `share` is how far from here to the end."""
        began_up, began_held = self.proxy.bytes_from_clients, self.service.held_bytes()
        self.proxy.plan = self._plan(phase)
        target_bytes = began_held + share * (self.trial.size_bytes - began_held)
        with self._command("transcribe" if phase is _P.POLLING else "upload") as command:
            here = self._instant(phase, command, began_up + target_bytes - began_held)
            self._watch(command, here)
            code = command.kill()
        if self.chance.random() < 0.5:  # a held request reaches the service late, or never
            self.proxy.cut_all()
        self.proxy.restore_all()
        self.proxy.plan = Plan(otherwise=self._link)
        held_bytes = self._settled_bytes()
        again_bytes = self.proxy.bytes_from_clients - began_up - (held_bytes - began_held)
        first_byte_s = self._first_byte_s(command)
        self.blows.append(Blow("client", phase, held_bytes, again_bytes, command.peak_kib, code, first_byte_s))

    def finish(self) -> str:
        """Run the command to its end and return what it printed."""
        self.proxy.plan = Plan(otherwise=self._link)
        began_up, began_held = self.proxy.bytes_from_clients, self.service.held_bytes()
        with self._command("upload") as command:
            self._watch(command, lambda: False)
            code, printed = command.finish()
        held_bytes = self.service.held_bytes()
        again_bytes = self.proxy.bytes_from_clients - began_up - (held_bytes - began_held)
        first_byte_s = self._first_byte_s(command)
        self.blows.append(Blow("-", "to the end", held_bytes, again_bytes, command.peak_kib, code, first_byte_s))
        if code:
            sys.stderr.writelines(command.complaints)
        return printed.strip()

    def _first_byte_s(self, command: Command) -> float | None:
        """How long after its start the command sent its first append, if it did."""
        instants = [connection.armed_s for connection in self.proxy.connections if connection.armed_s is not None]
        since = [instant - command.started_s for instant in instants if instant > command.started_s]
        return min(since, default=None)

    @property
    def _link(self) -> Fault:
        return Fault(rate_bytes_per_s=self.trial.rate_bytes_s, armed_by=_APPEND)  # which only notes when it came

    def _command(self, name: str) -> Command:
        words = (name, str(self.recording), "--recipe", "as-is", "--wire", self.trial.wire, "--progress", "json")
        endpoint = f"http://127.0.0.1:{self.proxy.port}/v1"
        return Command(words, environment(self.recording.parent / "state", endpoint))

    def _plan(self, phase: Phase) -> Plan:
        """What the proxy does to hold the request that the kill is to hit."""
        rate = self.trial.rate_bytes_s
        match phase:
            case Phase.OPENING:  # held at its first question, so that a slow look-out cannot let it get further
                held = Fault(black_hole_after_bytes=1, armed_by=_QUESTION, rate_bytes_per_s=rate)
            case Phase.CREATION:
                after_bytes = self.chance.randint(1, 200)
                held = Fault(black_hole_after_bytes=after_bytes, armed_by=_CREATION, rate_bytes_per_s=rate)
            case Phase.SUBMITTING:
                after_bytes = self.chance.randint(1, 600)
                held = Fault(black_hole_after_bytes=after_bytes, armed_by=_SUBMISSION, rate_bytes_per_s=rate)
            case Phase.ANSWERING:
                after_bytes = self.chance.randint(0, 100)
                held = Fault(cut_down_after_bytes=after_bytes, armed_by=_SUBMISSION, rate_bytes_per_s=rate)
            case _:
                return Plan(otherwise=self._link)
        return Plan(otherwise=held, at_most=1)

    def _instant(self, phase: Phase, command: Command, up_bytes: float) -> Callable[[], bool]:
        """Whether the moment to kill has come."""
        begins_at = time.monotonic() + self.chance.uniform(0.05, 0.4)
        seen = len(self.proxy.connections)

        acked_before: list[object] = []

        def stands_between() -> bool:
            """An append was answered just now; with several lanes others are in the midst of theirs."""
            if self.proxy.bytes_from_clients < up_bytes:
                return False
            acked_before.extend([event["acked_bytes"] for event in command.of("uploaded")][-1:])
            return len(set(acked_before)) > 1

        match phase:
            case Phase.OPENING:
                return lambda: time.monotonic() >= begins_at
            case Phase.SENDING:
                return lambda: self.proxy.bytes_from_clients >= up_bytes
            case Phase.BETWEEN:
                return stands_between
            case Phase.POLLING:
                return lambda: bool(command.of("polled"))
        return lambda: any(connection.struck for connection in self.proxy.connections[seen:])

    def _watch(self, command: Command, instant: Callable[[], bool]) -> None:
        """Look on, killing the service when its time has come, until the instant or the command's own end."""
        patience_s = _PATIENCE_S + self.trial.size_bytes / _JOINED_BYTES_S
        until, moved = time.monotonic() + patience_s, -1
        while not instant() and not command.ended:
            if self.proxy.bytes_from_clients != moved:
                until, moved = time.monotonic() + patience_s, self.proxy.bytes_from_clients
            if time.monotonic() > until:
                raise TimeoutError(f"the command is still at work; it said {command.events[-3:]}")
            command.sample()
            if self._server_instants and self.proxy.bytes_from_clients >= self._server_instants[0]:
                del self._server_instants[0]
                self.service.kill()
                self.blows.append(Blow("service", "any", self.service.held_bytes()))
                self.service.start()
            time.sleep(_GLANCE_S)

    def _settled_bytes(self) -> int:
        """What the service holds once it has digested what was on its way when the client died."""
        seen: list[tuple[int, int]] = []
        while len(seen) < _SETTLED_GLANCES or len(set(seen[-_SETTLED_GLANCES:])) > 1:
            time.sleep(0.02)
            seen.append((self.service.held_bytes(), self.proxy.bytes_from_clients))
        return seen[-1][0]


def run(trial: Trial, folder: Path) -> Verdict:
    """Carry one trial out in an empty folder and judge it."""
    recording = folder / "recording.wav"
    digest = (write_sparse if trial.sparse else write_wav)(recording, trial.size_bytes, trial.seed)
    chance = random.Random(trial.seed)
    with Service(folder / "service") as service, FaultProxy("127.0.0.1", service.port) as proxy:
        course = Course(trial, recording, service, proxy, chance)
        order = _ORDER_OF_FEW if trial.sparse else _ORDER
        phases = [order[index * len(order) // trial.kills] for index in range(trial.kills)]
        for index, phase in enumerate(phases):
            rest = sum(later in {_P.SENDING, _P.BETWEEN} for later in phases[index:])
            course.strike(phase, chance.uniform(0.1, 1.0) / (rest + 1))
        printed = course.finish()
        up_bytes = proxy.bytes_from_clients
        repeated = course.finish()
        return Verdict(
            trial=trial,
            blows=course.blows,
            digest=digest,
            digests={name: sha256_of(path) for name, path in service.recordings().items()},
            jobs=service.jobs(),
            printed=(printed, repeated),
            up_bytes=up_bytes,
            repeat_up_bytes=proxy.bytes_from_clients - up_bytes,
        )


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper())
    return int(text) if unit is None else int(float(text[:-1]) * unit)


def main() -> int:
    """Run one trial as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=_size, default=64 << 20, help="bytes of the recording, such as 64M or 2G")
    parser.add_argument("--seed", type=int, default=1, help="decides the recording's bytes and every instant")
    parser.add_argument("--kills", type=int, default=10, help="how often the client is killed")
    parser.add_argument("--server-kills", type=int, default=0, help="how often the service is killed")
    parser.add_argument("--wire", choices=["tus", "auto"], default="tus")
    parser.add_argument("--sparse", action="store_true", help="a recording that is mostly a hole, of any size")
    parser.add_argument("--rate", type=_size, help="bytes per second through the proxy; by default for six seconds")
    options = parser.parse_args()
    rate_bytes_s = options.rate or (None if options.sparse else options.size / _TRANSFER_S)
    trial = Trial(
        size_bytes=options.size,
        seed=options.seed,
        kills=options.kills,
        server_kills=options.server_kills,
        wire=options.wire,
        rate_bytes_s=rate_bytes_s,
        sparse=options.sparse,
    )
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        verdict = run(trial, Path(folder))
    sys.stdout.write(verdict.table())
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())

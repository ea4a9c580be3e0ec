"""Links worse than loopback, each described by a profile and a seed: those of an emulator, and those of our proxy.

An emulator is any program, such as one made of network namespaces, that is called as

    COMMAND run PROFILE --seed N --payload-bytes B --timeout S --log-dir DIR --server COMMAND --client COMMAND

maybe with `--set KEY=VALUE` behind the profile, for what is to be otherwise than it says.

It puts an address and a port for {ip} and {port} in both commands, runs them on the two ends of its link, and prints
one line of JSON: `wall_s` and `client_rc` of the client, `efficiency`, the share of the link's capacity that the
payload took while the link was up, and `warnings`, which say when the machine and not the link shaped the result. With
`efficiency_acked` it may tell the same of a client that was stopped.

Without one the fault proxy carries the bytes over loopback. There a connection's rate is what lost packets leave a
single TCP flow, and all of them together get no more than the link's; windows, queues and slow start there are none.
"""

from __future__ import annotations

import itertools
import json
import random
import shlex
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE: Final = "127.0.0.1"
_SEGMENT_BYTES: Final = 1448
_GLANCE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Trip:
    """One upload over one link. In the commands {ip} and {port} stand for the server's address.

    `settings` change the profile, as KEY=VALUE; only an emulator knows any.
    """

    profile: str
    seed: int
    size_bytes: int
    timeout_s: float
    server: str
    client: str
    log: Path
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """How it went. `share` is None where nobody knows how much arrived; `ended` is done, stopped or failed.

    `again` is how much was sent more than once, as a share of the payload; None of others than ours.
    """

    wall_s: float
    share: float | None
    ended: str
    warnings: tuple[str, ...] = ()
    again: float | None = None


class Emulation(Protocol):
    """Something that has links."""

    @property
    def name(self) -> str:
        """What it is, for a table."""

    def carry(self, trip: Trip) -> Arrival:
        """Run both commands over the link."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A foreign emulator of links."""

    command: str
    name: str = "an emulator of links, between network namespaces"

    def carry(self, trip: Trip) -> Arrival:
        """Call it once."""
        words = [
            *shlex.split(self.command), "run", trip.profile, *(f"--set={each}" for each in trip.settings),
            "--seed", str(trip.seed),
            "--payload-bytes", str(trip.size_bytes), "--timeout", f"{trip.timeout_s:g}", "--log-dir", str(trip.log),
            "--server", trip.server, "--client", trip.client,
        ]  # fmt: skip
        called = subprocess.run(words, capture_output=True, text=True, check=False)
        if called.returncode:
            sys.exit(f"{self.command} failed: {called.stderr[-500:]}")
        told = json.loads(called.stdout)
        warnings = tuple(told.get("warnings") or ())
        if told["client_rc"] == 0:
            return Arrival(told["wall_s"], told["efficiency"], "done", warnings)
        ended = "stopped" if told["wall_s"] >= trip.timeout_s - 1 else "failed"
        return Arrival(told["wall_s"], told.get("efficiency_acked"), ended, warnings)


@dataclass(frozen=True, slots=True)
class Profile:
    """A link of the proxy's: its rate, and what of it a connection can have."""

    rate_bytes_s: float
    rtt_s: float
    loss: float = 0.0
    outage_every_s: tuple[float, float] | None = None
    outage_for_s: tuple[float, float] = (3.0, 3.0)

    def plan(self) -> Plan:
        """What the proxy does.

        A flow that loses packets moves 1.22 segments / (RTT sqrt(loss)) (Mathis, Semke, Mahdavi, Ott, 1997).
        """
        alone = 1.22 * _SEGMENT_BYTES / (self.rtt_s * sqrt(self.loss)) if self.loss else None
        fault = Fault(delay_s=self.rtt_s / 2, rate_bytes_per_s=alone)
        return Plan(otherwise=fault, common_rate_bytes_per_s=self.rate_bytes_s)

    def outages(self, seed: int) -> Iterator[tuple[float, float]]:
        """When the link is down, from and to, in seconds."""
        chance, begin_s = random.Random(seed), 0.0
        while self.outage_every_s is not None:
            begin_s += chance.uniform(*self.outage_every_s)
            yield begin_s, begin_s + chance.uniform(*self.outage_for_s)


PROFILES: Final = {
    "home-dsl": Profile(1.25e6, 0.04),
    "office": Profile(12.5e6, 0.02),
    "lte-flaky": Profile(2.5e6, 0.08, 0.005, (14, 26)),
    "train": Profile(1e6, 0.12, 0.01, (30, 80), (1, 25)),
    "satellite": Profile(6.25e6, 0.6, 0.005),
    "intercontinental-1pct": Profile(25e6, 0.18, 0.01),
}


@dataclass(frozen=True, slots=True)
class Proxied:
    """The links of our fault proxy."""

    name: str = "the fault proxy on loopback"

    def carry(self, trip: Trip) -> Arrival:
        """Start the server, the proxy before it, and the client."""
        profile = PROFILES[trip.profile]
        server = shlex.split(trip.server.replace("{ip}", HERE).replace("{port}", "0"))
        with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                port = urlsplit(json.loads(process.stdout.readline())["endpoint"]).port or 0
                with FaultProxy(HERE, port, profile.plan()) as proxy, _interrupted(proxy, profile, trip.seed):
                    started_s = time.monotonic()
                    ended = _run(trip, proxy.port)
                    wall_s = time.monotonic() - started_s
                    arrived = trip.size_bytes if ended == "done" else proxy.bytes_up
            finally:
                process.kill()
        spans = itertools.takewhile(lambda span: span[0] < wall_s, profile.outages(trip.seed))
        up_s = wall_s - sum(min(to_s, wall_s) - from_s for from_s, to_s in spans)
        return Arrival(wall_s, arrived / (profile.rate_bytes_s * up_s), ended)


def _run(trip: Trip, port: int) -> str:
    command = shlex.split(trip.client.replace("{ip}", HERE).replace("{port}", str(port)))
    with (trip.log / "client.log").open("wb") as log:
        try:
            run = subprocess.run(command, stdout=log, stderr=log, timeout=trip.timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return "stopped"
    return "failed" if run.returncode else "done"


@contextmanager
def _interrupted(proxy: FaultProxy, profile: Profile, seed: int) -> Iterator[None]:
    """Let the link have its outages while the block runs; what is on its way waits for their end."""
    over, started_s = threading.Event(), time.monotonic()

    def interrupt() -> None:
        for from_s, to_s in profile.outages(seed):
            if over.wait(started_s + from_s - time.monotonic()):
                return
            while time.monotonic() < started_s + to_s:
                proxy.black_hole_all()  # again and again, as new connections come
                if over.wait(_GLANCE_S):
                    return
            proxy.restore_all()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

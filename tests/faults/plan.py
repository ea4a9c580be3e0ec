"""What a fault proxy is to do to the connections it carries."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one connection; the default is nothing.

    Bytes are counted per direction, from the connection's start or, with `armed_by`, from the first
    occurrence of that text in what the client sends, so the requests before it on a kept-alive
    connection pass. A limit acts with the chunk that reaches it, after exactly that many bytes went
    on. `cut_down_after_bytes=0` is therefore the lost answer: the request has arrived, and the
    connection breaks as the server begins to answer. A greater number truncates the answer.

    Attributes:
        cut_up_after_bytes: break the connection after so many bytes from the client.
        cut_up_between_bytes: the same, the number drawn by the plan's seed, both ends included.
        cut_down_after_bytes: break the connection after so many bytes from the server.
        cut_after_s: break the connection when it is so old, armed or not.
        cut_within_s: the same, the age drawn by the plan's seed between zero and this: a storm of resets.
        cut_by: "rst" resets both sides; "fin" ends both streams politely and swallows the rest.
        black_hole_after_bytes: after so many bytes from the client nothing moves, and nobody is told. Writes succeed
            until the buffers are full, as in a dead network.
        black_hole_way: "both", or the one direction that dies: "up" is the client's to the server. A connection half
            open by "down" with `black_hole_after_bytes=0` takes the request and never shows its answer.
        black_hole_for_s: how long it lasts; for ever without it, or until somebody restores the connection.
        delay_s: how much later everything arrives, each way.
        rate_bytes_per_s: the most that passes, each way, on each connection.
        stutter_s: bytes move for the first number of seconds, stand still for the second, and so on.
        replay_after_s: what the client sends reaches the server once more, so much later, on a connection of its own,
            as from a middlebox that repeats requests. The answers to it are thrown away.
        armed_by: text (Latin-1) in the client's bytes that starts the counting.
    """

    cut_up_after_bytes: int | None = None
    cut_up_between_bytes: tuple[int, int] | None = None
    cut_down_after_bytes: int | None = None
    cut_after_s: float | None = None
    cut_within_s: float | None = None
    cut_by: Literal["rst", "fin"] = "rst"
    black_hole_after_bytes: int | None = None
    black_hole_way: Literal["both", "up", "down"] = "both"
    black_hole_for_s: float | None = None
    delay_s: float = 0.0
    rate_bytes_per_s: float | None = None
    stutter_s: tuple[float, float] | None = None
    replay_after_s: float | None = None
    armed_by: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which connection suffers what.

    Attributes:
        connections: faults by ordinal; 1 is the first connection accepted after the plan was set.
        otherwise: the fault of every other connection.
        at_most: how many cuts and black holes may happen in all; later ones are let off. Whichever
            connection carries the one request to break, `at_most=1` breaks it once.
        common_rate_bytes_per_s: the most that all connections together bring to the server, as on a link they share.
        seed: decides what is drawn at random, for every ordinal, whatever the timing.
    """

    connections: Mapping[int, Fault] = field(default_factory=dict)
    otherwise: Fault = Fault()
    at_most: int | None = None
    common_rate_bytes_per_s: float | None = None
    seed: int = 0

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read a plan written with the field names above; raises TypeError on others, ValueError on no JSON."""
        given = json.loads(text)
        faults = {int(ordinal): Fault(**fault) for ordinal, fault in given.pop("connections", {}).items()}
        return cls(connections=faults, otherwise=Fault(**given.pop("otherwise", {})), **given)

    def breaks(self) -> Iterator[int]:
        """One item for each cut or black hole that may happen."""
        return itertools.count() if self.at_most is None else iter(range(self.at_most))

    def faults(self) -> Iterator[Fault]:
        """The fault of each connection in turn, with every number drawn."""
        for ordinal in itertools.count(1):
            fault = self.connections.get(ordinal, self.otherwise)
            chance = random.Random(f"{self.seed}:{ordinal}")
            if fault.cut_up_between_bytes is not None:
                fault = replace(fault, cut_up_after_bytes=chance.randint(*fault.cut_up_between_bytes))
            if fault.cut_within_s is not None:
                fault = replace(fault, cut_after_s=chance.uniform(0.0, fault.cut_within_s))
            yield fault

"""What comes over the link: faults of connections, and spells that come over all of them for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.faults.plan import Fault

# What a client asks for, as it stands at the head of a request.
OFFER: Final = "OPTIONS /v1/uploads"
CREATION: Final = "POST /v1/uploads"
STANDING: Final = "HEAD /v1/uploads"
APPEND: Final = "PATCH /v1/uploads"
SUBMISSION: Final = "POST /v1/upload HTTP"
STATUS: Final = "GET /v1/status"
REQUESTS: Final = (OFFER, CREATION, STANDING, APPEND, APPEND, APPEND, SUBMISSION, STATUS)
PHASES: Final = ("opened", "decided", "uploaded", "submitted", "transferred", "waiting")


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant of a life, whichever way it is told.

    Attributes:
        kind: "s": so many seconds after the first sign of life; "share": when that share of what was still to be sent
            has been; an event's name: when the client tells it first.
        value: the seconds, the share, or how many seconds after the event.
    """

    kind: str
    value: float

    def __str__(self) -> str:
        match self.kind:
            case "s":
                return f"after {self.value:.2f} s"
            case "share":
                return f"at {self.value:.0%}"
        return f"{self.value:.2f} s after “{self.kind}”"


@dataclass(frozen=True, slots=True)
class Spell:
    """What comes over all connections at a moment, for so many seconds.

    "outage": nothing moves, on old connections or new ones, and then everything goes on. "rebinding": after the outage
    old connections are dead for ever, new ones work. "storm": each connection is reset at a random age. "reset": all
    that are open are reset, once.
    """

    kind: Literal["outage", "rebinding", "storm", "reset"]
    at: Moment
    lasts_s: float = 0.0

    def __str__(self) -> str:
        lasts = f" of {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.kind}{lasts} {self.at}"


def draw_moment(chance: random.Random) -> Moment:
    """An instant anywhere in a life."""
    match chance.choices(("s", "share", "event"), (30, 40, 30))[0]:
        case "s":
            return Moment("s", round(chance.uniform(0.0, 1.5), 3))
        case "share":
            return Moment("share", round(chance.random(), 3))
    return Moment(chance.choice(PHASES), round(chance.choice((0.0, 0.0, 0.02, 0.1)), 3))


def draw_spells(chance: random.Random, *, resumable: bool) -> tuple[Spell, ...]:
    """Up to two spells; a request that cannot resume is spared the storm, which it could not outlive."""

    def one() -> Spell:
        at = draw_moment(chance)
        kinds: tuple[Literal["outage", "rebinding", "storm", "reset"], ...] = ("outage", "rebinding", "storm", "reset")
        kind = chance.choices(kinds, (35, 15, 25 if resumable else 0, 25))[0]
        return Spell(kind, at, 0.0 if kind == "reset" else round(chance.uniform(0.1, 1.2), 2))

    return tuple(one() for _ in range(chance.choices((0, 1, 2), (60, 30, 10))[0]))


def draw_fault(chance: random.Random, size_bytes: int, link: Fault, *, resumable: bool) -> tuple[Fault, int | None]:
    """What happens to the connections of one life, added to the link's own ways, and how often it may break."""
    kinds: tuple[Callable[[random.Random, int, Fault], Fault], ...] = (
        *(_cut_up, _cut_up, _cut_answer, _cut_answer, _half_open, _black_hole, _stutter, _replay),
    )
    fault = link
    for kind in chance.sample(kinds, chance.choices((0, 1, 2), (40, 45, 15))[0]):
        fault = kind(chance, size_bytes, fault)
    limits = (fault.cut_up_after_bytes, fault.cut_down_after_bytes, fault.black_hole_after_bytes)
    breaks = any(limit is not None for limit in limits)
    return fault, chance.choice((1, 1, 2, 4) if resumable else (1, 1, 2)) if breaks else None


def _where(chance: random.Random) -> str:
    return chance.choice(("", *REQUESTS))


def _bytes(chance: random.Random, size_bytes: int) -> int:
    """A number from a few bytes to a little more than the recording has, small ones as likely as large ones."""
    return int((2 * size_bytes + 600) ** chance.random())


def _cut_up(chance: random.Random, size_bytes: int, fault: Fault) -> Fault:
    by: Literal["rst", "fin"] = chance.choice(("rst", "fin"))
    return replace(fault, cut_up_after_bytes=_bytes(chance, size_bytes), cut_by=by, armed_by=_where(chance))


def _cut_answer(chance: random.Random, size_bytes: int, fault: Fault) -> Fault:
    del size_bytes  # answers do not grow with the recording
    by: Literal["rst", "fin"] = chance.choice(("rst", "fin"))
    after_bytes = chance.choice((0, 0, chance.randint(1, 400)))
    return replace(fault, cut_down_after_bytes=after_bytes, cut_by=by, armed_by=_where(chance))


def _half_open(chance: random.Random, size_bytes: int, fault: Fault) -> Fault:
    way: Literal["up", "down"] = chance.choice(("up", "down"))
    return replace(_black_hole(chance, size_bytes, fault), black_hole_way=way)


def _black_hole(chance: random.Random, size_bytes: int, fault: Fault) -> Fault:
    after_bytes, lasts_s = _bytes(chance, size_bytes), round(chance.uniform(0.1, 1.5), 2)
    return replace(
        fault, black_hole_after_bytes=after_bytes, black_hole_for_s=lasts_s, armed_by=fault.armed_by or _where(chance)
    )


def _stutter(chance: random.Random, size_bytes: int, fault: Fault) -> Fault:
    del size_bytes
    return replace(fault, stutter_s=(round(chance.uniform(0.02, 0.2), 3), round(chance.uniform(0.02, 0.2), 3)))


def _replay(chance: random.Random, size_bytes: int, fault: Fault) -> Fault:
    del size_bytes
    return replace(fault, replay_after_s=chance.choice((0.0, 0.01, 0.1, 0.7)))


def tell_line(line: Fault) -> str:
    """The line's speed and delay in a few words; nothing for neither."""
    rate = f"{line.rate_bytes_per_s / 1e6:.3g} MB/s " if line.rate_bytes_per_s else ""
    delay = f"{line.delay_s * 1000:.0f} ms" if line.delay_s else ""
    return (rate + delay).strip()


def tell_fault(fault: Fault) -> str:
    """The fault in a few words, beyond the line's speed and delay; nothing for none."""
    said = []
    if fault.cut_up_after_bytes is not None:
        said.append(f"{fault.cut_by} after {fault.cut_up_after_bytes:,} B up")
    if fault.cut_down_after_bytes is not None:
        said.append(f"{fault.cut_by} after {fault.cut_down_after_bytes:,} B down")
    if fault.black_hole_after_bytes is not None:
        way = "black hole" if fault.black_hole_way == "both" else f"{fault.black_hole_way} dead"
        lasts = "for ever" if fault.black_hole_for_s is None else f"for {fault.black_hole_for_s:.1f} s"
        said.append(f"{way} after {fault.black_hole_after_bytes:,} B {lasts}")
    if fault.stutter_s is not None:
        said.append(f"stutter {fault.stutter_s[0]:.2f}/{fault.stutter_s[1]:.2f} s")
    if fault.replay_after_s is not None:
        said.append(f"replay after {fault.replay_after_s:.2f} s")
    if fault.armed_by:
        said.append(f"from “{fault.armed_by}”")
    return " ".join(said)

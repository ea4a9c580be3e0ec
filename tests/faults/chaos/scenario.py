"""One scenario: everything that will be done to one recording on its way, drawn from one seed.

Each aspect is drawn from a generator of its own, so that a new aspect leaves the others of every seed as they were.
Nothing but the seed decides, whatever the machine and whatever is installed on it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final, Literal

from tests.faults.chaos.weather import Moment, Spell, draw_fault, draw_moment, draw_spells, tell_fault, tell_line
from tests.faults.plan import Fault, Plan

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_PART_BYTES: Final = 1 * _MIB  # and the first append's size
_LANE_BYTES: Final = 4 * _MIB
_EDGES: Final = tuple(
    size + more for size in (_PART_BYTES, _LANE_BYTES, 2 * _LANE_BYTES, 4 * _LANE_BYTES) for more in (-1, 0, 1)
)
_WINDOW_BYTES: Final = 256 * _KIB  # what the proxy lets be in flight: with a delay it bounds the speed
_DAY_S: Final = 86_400.0

Command = Literal["upload", "transcribe", "send"]
Source = Literal["file", "pipe", "followed"]
Wire = Literal["auto", "tus", "single"]
Edit = Literal["in place", "grown", "shrunk", "touched", "moved"]


@dataclass(frozen=True, slots=True)
class Blow:
    """A signal to the client, at a moment of its life."""

    signal: Literal["SIGKILL", "SIGTERM", "SIGINT"]
    at: Moment

    def __str__(self) -> str:
        return f"{self.signal} {self.at}"


@dataclass(frozen=True, slots=True)
class Restart:
    """The service ends and comes back after `down_s` seconds."""

    signal: Literal["SIGKILL", "SIGTERM"]
    at: Moment
    down_s: float

    def __str__(self) -> str:
        return f"service {self.signal} {self.at} for {self.down_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Jump:
    """The client's clocks leave their course `at_s` seconds after it started.

    A sleep of the machine moves both; somebody who sets the clock moves the wall's alone, back or forth.
    """

    at_s: float
    wall_s: float
    boot_s: float = 0.0

    def __str__(self) -> str:
        what = "sleeps" if self.boot_s else "clock"
        return f"{what} {self.wall_s:+.0f} s after {self.at_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Life:
    """One run of the command, and what comes between it and the next.

    Attributes:
        plan: what happens to its connections.
        spells: what comes over the link for a while.
        blow: how it ends before its time, if it does.
        restart: how the service ends meanwhile, if it does.
        jumps: what its clocks do.
        edit: what befalls the recording after it.
    """

    plan: Plan
    spells: tuple[Spell, ...] = ()
    blow: Blow | None = None
    restart: Restart | None = None
    jumps: tuple[Jump, ...] = ()
    edit: Edit | None = None

    def __str__(self) -> str:
        told, breaks = tell_fault(self.plan.otherwise), self.plan.at_most
        said = [f"{told} ({breaks} x)" if breaks else told] if told else []
        said += [str(one) for one in (*self.spells, self.restart, *self.jumps, self.blow) if one is not None]
        if self.edit:
            said.append(f"then {self.edit}")
        return ", ".join(said) or "calm"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one seed means.

    Attributes:
        source: whether the recording lies there, comes through a pipe, or is followed while it is being written.
        spoken_s: how long it is being written, where it is.
        background: whether SIGINT is ignored from the beginning, as it is in the background of a script.
        transcribed_after_s: how long the service takes for a transcript.
        link: the line between all faults: its speed and delay.
        lives: the runs to disturb; calm ones follow until the work is done.
    """

    seed: int
    size_bytes: int
    command: Command
    source: Source
    spoken_s: float
    wire: Wire
    lanes: int
    checksum: bool
    background: bool
    transcribed_after_s: float
    link: Fault
    lives: tuple[Life, ...]

    def __str__(self) -> str:
        source = "" if self.source == "file" else f", {self.source}, said in {self.spoken_s:.1f} s,"
        how = f"{self.command} {self.size_bytes:,} B{source} by {self.wire} in {self.lanes}"
        checksum = " with checksums" if self.checksum else ""
        background = " in the background" if self.background else ""
        link = tell_line(self.link)
        lives = "; ".join(f"{number}: {life}" for number, life in enumerate(self.lives, start=1))
        return f"seed {self.seed}: {how}{checksum}{background}{f' over {link}' if link else ''} | {lives}"

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What befalls the recording, in order."""
        return tuple(life.edit for life in self.lives if life.edit)

    @property
    def repeats_whole(self) -> bool:
        """Whether what was in flight goes again from its start: nothing that was cut short is kept."""
        return self.wire == "single" or self.checksum


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    size_bytes = _draw_size(_chance(seed, "size"))
    shape = _chance(seed, "shape")
    command: Command = shape.choices(("upload", "transcribe", "send"), (55, 25, 20))[0]
    wires: tuple[Wire, ...] = ("tus", "auto", "single")
    wire = shape.choices(wires, (55, 25, 20))[0] if command != "send" else "tus"
    lanes = _chance(seed, "lanes").choice((1, 2, 2, 3, 4, 4, 4, 6, 8))
    checksum = wire != "single" and _chance(seed, "checksum").random() < 0.2
    link = _draw_link(_chance(seed, "link"), size_bytes)
    growing = _chance(seed, "source")
    sources: tuple[Source, ...] = ("file", "pipe", "followed")
    source = growing.choices(sources, (80, 10, 10))[0] if command != "send" else "file"
    return Scenario(
        seed=seed,
        size_bytes=size_bytes,
        command=command,
        source=source,
        spoken_s=round(growing.uniform(0.2, 2.0), 1),
        wire=wire,
        lanes=lanes,
        checksum=checksum,
        background=_chance(seed, "background").random() < 0.2,
        transcribed_after_s=_chance(seed, "transcript").choice((0.0, 0.0, 0.0, 2.0)),
        link=link,
        lives=_draw_lives(seed, size_bytes, wire, link, edited=source == "file"),
    )


def _chance(seed: int, aspect: str) -> random.Random:
    return random.Random(f"{seed}:{aspect}")


def _draw_size(chance: random.Random) -> int:
    match chance.choices(("small", "middle", "large", "edge", "empty"), (40, 30, 20, 9, 1))[0]:
        case "small":
            return int(2 ** chance.uniform(0, 20))
        case "middle":
            return int(2 ** chance.uniform(20, 24))
        case "large":
            return int(2 ** chance.uniform(23, 26))
        case "edge":
            return chance.choice(_EDGES)
    return 0


def _draw_link(chance: random.Random, size_bytes: int) -> Fault:
    """A line on which the recording would take a moment, so that there is time for things to happen."""
    takes_s = chance.uniform(0.2, 1.5)
    delay_s = chance.choice((0.0, 0.0, 0.0, 0.005, 0.02, 0.06))
    delay_s = min(delay_s, _WINDOW_BYTES * takes_s / max(size_bytes, 1))
    rate = size_bytes / takes_s if size_bytes > 64 * _KIB else None
    return Fault(delay_s=round(delay_s, 4), rate_bytes_per_s=rate)


def _draw_lives(seed: int, size_bytes: int, wire: Wire, link: Fault, *, edited: bool) -> tuple[Life, ...]:
    ends = _chance(seed, "ends").choices((0, 1, 2, 3), (35, 35, 20, 10))[0]
    edited = edited and ends > 0 and _chance(seed, "edited").random() < 0.15
    edit_after = _chance(seed, "edit").randrange(ends) if edited else None
    restarts = _chance(seed, "restarts").choices((0, 1, 2), (75, 18, 7))[0]
    restarted = {_chance(seed, f"restarted {number}").randrange(ends + 1) for number in range(restarts)}
    bent = _chance(seed, "clock").random() < 0.12
    lives = []
    for number in range(ends + 1):
        chance = _chance(seed, f"life {number}")
        fault, at_most = draw_fault(_chance(seed, f"fault {number}"), size_bytes, link, resumable=wire != "single")
        lives.append(
            Life(
                plan=Plan(otherwise=fault, at_most=at_most, seed=chance.getrandbits(32)),
                spells=draw_spells(_chance(seed, f"spells {number}"), resumable=wire != "single"),
                blow=_draw_blow(chance) if number < ends else None,
                restart=_draw_restart(_chance(seed, f"restart {number}")) if number in restarted else None,
                jumps=_draw_jumps(_chance(seed, f"jumps {number}")) if bent else (),
                edit=_draw_edit(_chance(seed, "edit kind")) if number == edit_after else None,
            )
        )
    return tuple(lives)


def _draw_blow(chance: random.Random) -> Blow:
    signals: tuple[Literal["SIGKILL", "SIGTERM", "SIGINT"], ...] = ("SIGKILL", "SIGTERM", "SIGINT")
    return Blow(chance.choices(signals, (60, 20, 20))[0], draw_moment(chance))


def _draw_restart(chance: random.Random) -> Restart:
    signals: tuple[Literal["SIGKILL", "SIGTERM"], ...] = ("SIGKILL", "SIGTERM")
    return Restart(chance.choices(signals, (70, 30))[0], draw_moment(chance), chance.choice((0.0, 0.3, 1.5)))


def _draw_jumps(chance: random.Random) -> tuple[Jump, ...]:
    def one() -> Jump:
        at_s = round(chance.uniform(0.2, 2.0), 2)
        span_s = round(math.exp(chance.uniform(0.0, math.log(10 * _DAY_S))), 1)
        match chance.choice(("sleep", "forth", "back")):
            case "sleep":
                return Jump(at_s, span_s, span_s)
            case "forth":
                return Jump(at_s, span_s)
        return Jump(at_s, -span_s)

    return tuple(one() for _ in range(chance.choice((1, 1, 2))))


def _draw_edit(chance: random.Random) -> Edit:
    edits: tuple[Edit, ...] = ("in place", "grown", "shrunk", "touched", "moved")
    return chance.choice(edits)

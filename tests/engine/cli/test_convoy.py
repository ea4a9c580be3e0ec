from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from engine.cli.convoy import Convoy
from engine.errors import ExitCode, KeyRejected, RecordingError
from engine.events import Counted
from engine.model import Receipt
from engine.runtime.folder import Found
from engine.runtime.together import together
from engine.runtime.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from engine.events import Event
    from engine.runtime.manifest import Manifest

pytestmark = pytest.mark.anyio
ENTRY = os.stat_result(range(10))
BEGUN_AT_ONCE, IN_LINE = 4, 10
_LONGEST_WAY = 40  # turns of the event loop from one sleep to the next, and to spare: nothing here waits for the system


@dataclass(slots=True)
class SharedTime:
    """A clock for tasks side by side: time passes when all of them sleep, to the moment the first wakes."""

    now_s: float = 1000.0
    _sleepers: list[tuple[float, anyio.Event]] = field(default_factory=list)

    def wall(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    def chance(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        awake = anyio.Event()
        self._sleepers.append((self.now_s + seconds + 1e-6, awake))
        await awake.wait()

    async def pass_(self) -> None:
        """Let time pass as long as there is anybody asleep; cancelled when nobody is left to work."""
        while True:
            for _ in range(_LONGEST_WAY):
                await anyio.lowlevel.checkpoint()
            if self._sleepers:
                first = min(self._sleepers, key=lambda sleeper: sleeper[0])
                self._sleepers.remove(first)
                self.now_s = first[0]
                first[1].set()


@dataclass(slots=True)
class Service:
    """A client whose recordings take `bring_s` to arrive, and `reply_s` to be submitted, by the real turns."""

    manifest: Manifest
    clock: SharedTime = field(default_factory=SharedTime)
    bring_s: float = 1.0
    reply_s: float = 0.25
    faults: dict[str, Exception] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    taken_before: frozenset[str] = frozenset()
    submitted_s: dict[str, float] = field(default_factory=dict)
    under_way: dict[str, str] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    _turns: list[Turns] = field(default_factory=list)

    def taken(self, recording: Path, facts: os.stat_result) -> Receipt | None:
        del facts
        return Receipt(recording.name, "old", str(recording)) if recording.name in self.taken_before else None

    async def bring(self, recording: Path) -> str:
        self._at(recording.name, "begun")
        await self.clock.sleep(self.slow.get(recording.name, self.bring_s))
        if recording.name in self.faults:
            del self.under_way[recording.name]
            raise self.faults[recording.name]
        self._at(recording.name, "in line")
        return recording.name

    async def submit(self, job_id: str) -> Receipt:
        self._turns = self._turns or [Turns(self.manifest, self.clock, self.tell, "account")]
        async with self._turns[0].upload(job_id):
            self.submitted_s[job_id] = self.clock.now_s
            await self.clock.sleep(self.reply_s)
        del self.under_way[job_id]
        return Receipt(job_id, f"id-{job_id}", job_id)

    def tell(self, event: Event) -> None:
        self.told.append(event)

    def _at(self, name: str, where: str) -> None:
        self.under_way[name] = where
        for place in ("begun", "in line"):
            self.most[place] = max(self.most.get(place, 0), list(self.under_way.values()).count(place))


async def listed(names: Iterable[str]) -> AsyncIterator[Found]:
    for name in names:
        await anyio.lowlevel.checkpoint()
        yield Found(Path(name), ENTRY)


async def taken_by(
    service: Service, names: Sequence[str], *, in_order: bool = False
) -> tuple[Convoy[Receipt], list[Receipt]]:
    """Take recordings through, as fast as time allows."""
    shown: list[Receipt] = []
    client: Any = service

    async def as_it_is(client: object, receipt: Receipt) -> Receipt:
        del client
        return receipt

    convoy = Convoy(client, as_it_is, shown.append, order=map(Path, names) if in_order else ())
    async with together() as tasks:
        tasks.start_soon(service.clock.pass_)
        try:
            await convoy.take(listed(names))
        finally:
            tasks.cancel_scope.cancel()
    return convoy, shown


async def test_no_turn_is_idle_and_none_is_too_early(manifest: Manifest) -> None:
    """Of 23 recordings five go a minute: each the moment that the fifth before it has been answered for a minute."""
    service = Service(manifest)
    await taken_by(service, [f"{number:02}.wav" for number in range(23)])
    went = sorted(service.submitted_s.values())
    assert went[:4] == pytest.approx([1001.0] * 4, abs=0.01)
    assert [later - earlier for earlier, later in zip(went, went[5:], strict=False)] == pytest.approx(
        [60.5 + service.reply_s] * 18, abs=0.01
    )


async def test_who_has_waited_longest_goes_first(manifest: Manifest) -> None:
    """Recordings are submitted in the order in which they arrived."""
    service = Service(manifest)
    names = [f"{number:02}.wav" for number in range(23)]
    _, shown = await taken_by(service, names)
    assert [receipt.job_id for receipt in shown] == names


async def test_what_is_begun_is_finished_first(manifest: Manifest) -> None:
    """However many there are, few are begun and few wait for their turn: nothing piles up, here or there."""
    service = Service(manifest)
    await taken_by(service, [f"{number:03}.wav" for number in range(60)])
    assert len(service.submitted_s) == 60
    assert service.most["begun"] <= BEGUN_AT_ONCE
    assert service.most["in line"] <= BEGUN_AT_ONCE + IN_LINE


async def test_while_one_is_slow_the_others_go_on(manifest: Manifest) -> None:
    """A recording that takes an hour to arrive holds one place, and no turn."""
    service = Service(manifest, slow={"long.wav": 3600.0})
    _, shown = await taken_by(service, ["long.wav", "a.wav", "b.wav", "c.wav", "d.wav", "e.wav"])
    assert [receipt.job_id for receipt in shown][-1] == "long.wav"
    assert max(at for name, at in service.submitted_s.items() if name != "long.wav") < 1010.0


async def test_in_an_order_each_is_shown_once_those_before_it_were(manifest: Manifest) -> None:
    """What comes early is kept: the processing_ids of `upload *.wav` stand in the order of the files."""
    service = Service(manifest, slow={"a.wav": 300.0, "c.wav": 30.0}, faults={"c.wav": RecordingError("no sound")})
    convoy, shown = await taken_by(service, ["a.wav", "b.wav", "c.wav", "d.wav"], in_order=True)
    assert service.submitted_s["b.wav"] < service.submitted_s["a.wav"], "they are worked on at once all the same"
    assert [receipt.job_id for receipt in shown] == ["a.wav", "b.wav", "d.wav"]
    assert (convoy.tally.done, convoy.tally.failed) == (3, 1)


async def test_in_an_order_the_first_is_shown_while_others_are_under_way(manifest: Manifest) -> None:
    """Nobody waits for the last recording to see what became of the first."""
    service = Service(manifest, slow={"b.wav": 3600.0}, taken_before=frozenset({"c.wav"}))
    seen_s: dict[str, float] = {}
    client: Any = service

    async def at(_: object, receipt: Receipt) -> Receipt:
        return receipt

    def show(receipt: Receipt) -> None:
        seen_s[receipt.job_id] = service.clock.now_s

    names = ["a.wav", "b.wav", "c.wav"]
    convoy = Convoy(client, at, show, order=map(Path, names))
    async with together() as tasks:
        tasks.start_soon(service.clock.pass_)
        await convoy.take(listed(names))
        tasks.cancel_scope.cancel()
    assert list(seen_s) == names
    assert seen_s["a.wav"] < 1010.0
    assert seen_s["c.wav"] == seen_s["b.wav"] > 4600.0


async def test_one_that_fails_stops_no_other(manifest: Manifest) -> None:
    """It is counted, and remembered for the end."""
    service = Service(manifest, faults={"b.wav": RecordingError("no sound")})
    convoy, shown = await taken_by(service, ["a.wav", "b.wav", "c.wav"])
    assert {receipt.job_id for receipt in shown} == {"a.wav", "c.wav"}
    assert (convoy.tally.done, convoy.tally.codes) == (2, {ExitCode.USER: 1})
    assert [(about, error.message) for about, error in convoy.tally.failures] == [("b.wav", "no sound")]
    assert service.told[-1] == Counted(2, 1, None)


async def test_what_concerns_all_ends_it_at_once(manifest: Manifest) -> None:
    """A key that is not accepted is told once, and not for each of a thousand recordings."""
    names = [f"{number:03}.wav" for number in range(1000)]
    service = Service(manifest, faults=dict.fromkeys(names, KeyRejected("401")))
    with pytest.raises(KeyRejected):
        await taken_by(service, names)
    assert service.most["begun"] <= BEGUN_AT_ONCE
    assert service.submitted_s == {}


async def test_what_the_service_has_takes_no_place_and_no_turn(manifest: Manifest) -> None:
    """It is shown like the others: the same command prints the same, however often it was interrupted."""
    names = [f"{number:03}.wav" for number in range(500)]
    service = Service(manifest, taken_before=frozenset(names[:-1]))
    convoy, shown = await taken_by(service, names)
    assert (len(shown), convoy.tally.done, list(service.submitted_s)) == (500, 500, [names[-1]])

"""What others showed that was not so: more than 100 %, 100 % of nothing, a bar that moves while nothing arrives."""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest

from engine.events import Opened, Uploaded, Waiting
from engine.progress.bars import Bars
from tests.engine.desk import CONTENT, Desk
from tests.engine.tus_server import TusServer
from tests.engine.world import JOB, Events, FakeClock
from tests.faults.scripted import TEXT, Asked, reply

if TYPE_CHECKING:
    from engine.events import Event
    from tests.faults.scripted import ScriptedService
    from tests.lessons.shell import Shell

MB = 1_000_000


class Witnessed(Events):
    """Everything that was told, and how much the server held whenever progress was."""

    def __init__(self, server: TusServer) -> None:
        super().__init__()
        self._server = server
        self.progress: list[tuple[Uploaded, int]] = []

    def append(self, event: Event) -> None:
        """Keep it with the truth of its moment."""
        super().append(event)
        if isinstance(event, Uploaded):
            held = sum(len(upload.content) for upload in self._server.uploads.values() if upload.partial)
            self.progress.append((event, held))


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(5))
async def test_rclone_3866_bytes_that_go_twice_never_count_twice(desk: Desk, seed: int) -> None:
    """Four lanes, every third request broken in some way: progress never goes back, never beyond what is held."""
    chance = random.Random(seed)
    blows = ("cut", "unanswered", "500", "429")
    server = TusServer(strike=lambda _, __: chance.choice(blows) if chance.random() < 1 / 3 else None)
    told = desk.told = Witnessed(server)
    await desk.run(server)
    events = [event for event, _ in told.progress]
    assert all(earlier.acked_bytes <= later.acked_bytes for earlier, later in pairwise(events))
    assert all(event.acked_bytes + event.unconfirmed_bytes <= event.total_bytes == len(CONTENT) for event in events)
    assert all(event.acked_bytes <= held for event, held in told.progress)
    assert events[-1].acked_bytes == len(CONTENT)


@dataclass
class Swallowing(TusServer):
    """Something on the way takes whole appends, at first, and passes nothing on."""

    swallowed: list[int] = field(default_factory=list)

    async def _append(self, request: httpx.Request, at_most: int) -> httpx.Response:
        if len(self.swallowed) < 12:
            self.swallowed.append(len(await request.aread()))
            raise httpx.ReadError("reset")
        return await super()._append(request, at_most)


@pytest.mark.anyio
async def test_upchunk_146_bytes_in_a_buffer_are_not_progress(desk: Desk) -> None:
    """Offline, every byte is taken and none arrives: the bar stays at nothing, and gets to its end when they do."""
    server = Swallowing()
    await desk.run(server)
    terminal = io.StringIO()
    bars = Bars(terminal)
    percents = []
    for event in desk.told:
        bars(event)
        if isinstance(event, Uploaded):
            percents.append(percent_of(terminal))
    bars.close()
    assert sum(server.swallowed) > len(CONTENT)
    moved = next(index for index, event in enumerate(desk.told) if isinstance(event, Uploaded) and event.acked_bytes)
    assert any(isinstance(event, Uploaded) and event.unconfirmed_bytes for event in desk.told[:moved])
    assert percents[0] == 0
    assert percents == sorted(percents)
    assert (percents[-1], server.finals) == (100, [CONTENT])


def percent_of(terminal: io.StringIO) -> int:
    """The percentage that stands on the terminal now."""
    return int(re.findall(r"(\d+)%", terminal.getvalue())[-1])


def test_huggingface_hub_3765_a_hundred_percent_are_all_of_it() -> None:
    """One byte short of the end is not shown as the end."""
    terminal = io.StringIO()
    bars = Bars(terminal)
    bars(Uploaded(JOB.id, 0, 215 * 1000 * MB))
    bars(Uploaded(JOB.id, 215 * 1000 * MB - 1, 215 * 1000 * MB))
    assert percent_of(terminal) == 99
    bars(Uploaded(JOB.id, 215 * 1000 * MB, 215 * 1000 * MB))
    assert percent_of(terminal) == 100
    bars.close()


def test_rclone_4178_the_time_left_comes_from_what_arrived_in_this_run(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed at 90 %, slowed down by an outage of an hour: what is left is told by the rate of acknowledgements."""
    monkeypatch.setattr("tqdm.std.time", clock.wall)
    terminal = io.StringIO()
    bars = Bars(terminal)
    bars(Opened(JOB.id, JOB.source, resumed=True))
    bars(Uploaded(JOB.id, 90 * MB, 100 * MB))
    for second in range(1, 4):
        clock.now_s += 1.0
        bars(Uploaded(JOB.id, (90 + second) * MB, 100 * MB, unconfirmed_bytes=7 * MB))
    assert "00:07" in terminal.getvalue().rpartition("\r")[2]
    bars(Waiting(JOB.id, "the server cannot be reached", 5.0))
    clock.now_s += 3600.0
    bars(Uploaded(JOB.id, 94 * MB, 100 * MB))
    for second in range(1, 5):
        clock.now_s += 1.0
        bars(Uploaded(JOB.id, (94 + second) * MB, 100 * MB))
    bars.close()
    assert "-" not in re.sub(r"\x1b\[A|it/s", "", terminal.getvalue().rpartition("\r")[2])
    assert percent_of(terminal) == 98


@pytest.mark.parametrize("lie", ["in its replies", "also when it is asked"])
def test_uppy_4985_an_empty_object_is_never_called_uploaded(service: ScriptedService, shell: Shell, lie: str) -> None:
    """A server that says it has all and keeps nothing gets no success out of us; an honest one does, afterwards."""

    def lying(asked: Asked) -> bytes | None:
        size = str(shell.recording.stat().st_size)
        if asked.method == "PATCH":
            return reply(204, {"Upload-Offset": str(int(asked.headers["upload-offset"]) + len(asked.body))})
        if asked.method == "HEAD" and lie == "also when it is asked":
            return reply(200, {"Upload-Offset": size, "Upload-Length": size})
        return None

    service.replying = lying
    code, printed = shell.transcribe()
    assert (code, printed) == (2, "")
    assert service.jobs == {}
    service.replying = lambda _: None
    shell.a_minute_later()

    assert shell.transcribe() == (0, TEXT)

    assert list(service.jobs.values()) == [shell.recording.read_bytes()]

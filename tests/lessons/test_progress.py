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

from engine.errors import ServiceError
from engine.events import Opened, Uploaded
from engine.progress.bars import Bars
from tests.engine.desk import CONTENT, Desk
from tests.engine.tus_server import TusServer
from tests.engine.world import JOB, Events, FakeClock
from tests.faults.scripted import TEXT, Asked, reply

if TYPE_CHECKING:
    from engine.events import Event
    from tests.lessons.home import Home

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
@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_rclone_3866_bytes_that_go_twice_never_count_twice(desk: Desk, seed: int, *, forgetful: bool) -> None:
    """Four lanes, every third request broken in some way: progress never goes back, and never beyond all there is.

    A server that loses what it has acknowledged, before it joins it, gets it again, and that counts once, too.
    """
    chance = random.Random(seed)

    def strike(number: int, kind: str) -> str | None:
        if forgetful and kind == "JOIN" and "JOIN" not in server.seen[:number]:
            held = next(iter(server.uploads.values())).content
            del held[len(held) // 2 :]
            return None
        return chance.choice(("cut", "unanswered", "500", "429")) if chance.random() < 1 / 3 else None

    server = TusServer(strike=strike)
    told = desk.told = Witnessed(server)
    await desk.run(server)
    events = [event for event, _ in told.progress]
    assert all(earlier.acked_bytes <= later.acked_bytes for earlier, later in pairwise(events))
    assert all(event.acked_bytes + event.unconfirmed_bytes <= event.total_bytes == len(CONTENT) for event in events)
    assert forgetful or all(event.acked_bytes <= held for event, held in told.progress)
    assert (server.received_bytes > len(CONTENT)) is forgetful
    assert events[-1].acked_bytes == len(CONTENT)
    assert server.finals == [CONTENT]


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
async def test_upchunk_146_bytes_in_a_buffer_are_not_progress(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, every byte is taken and none arrives: the bar stays at nothing, and gets to its end when they do."""
    server = Swallowing()
    await desk.run(server)
    monkeypatch.setattr("tqdm.std.time", desk.clock.wall)
    terminal = io.StringIO()
    bars = Bars(terminal)
    percents = []
    for event in desk.told:
        desk.clock.now_s += 1.0
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


def test_rclone_4178_the_time_left_comes_from_what_arrived_in_this_run(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed at 90 %, what is left is told by the rate of acknowledgements, not by what an earlier run had sent."""
    monkeypatch.setattr("tqdm.std.time", clock.wall)
    terminal = io.StringIO()
    bars = Bars(terminal)
    bars(Opened(JOB.id, JOB.source, resumed=True))
    bars(Uploaded(JOB.id, 90 * MB, 100 * MB))
    for second in range(1, 4):
        clock.now_s += 1.0
        bars(Uploaded(JOB.id, (90 + second) * MB, 100 * MB, unconfirmed_bytes=7 * MB))
    assert "00:07" in terminal.getvalue().rpartition("\r")[2]
    bars.close()


@pytest.mark.anyio
@pytest.mark.parametrize("lie", ["in its replies", "also when it is asked"])
async def test_uppy_4985_an_empty_object_is_never_called_uploaded(home: Home, lie: str) -> None:
    """A server that says it has all and keeps nothing gets no success out of us; an honest one does, afterwards."""
    service, size = home.service, str(home.recording.stat().st_size)

    def lying(asked: Asked) -> bytes | None:
        if asked.method == "PATCH":
            return reply(204, {"Upload-Offset": str(int(asked.headers["upload-offset"]) + len(asked.body))})
        if asked.method == "HEAD" and lie == "also when it is asked":
            return reply(200, {"Upload-Offset": size, "Upload-Length": size})
        return None

    service.replying = lying
    with pytest.raises(ServiceError, match="again and again"):
        await home.transcribe()
    assert service.jobs == {}
    service.replying = lambda _: None

    assert await home.transcribe() == TEXT

    assert list(service.jobs.values()) == [home.recording.read_bytes()]

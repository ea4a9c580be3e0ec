"""Patience that others had too little or too much of: counters that never reset, refusals repeated for ever, storms."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from engine.errors import SpeechStreamError
from engine.events import Waiting
from engine.model import Limits
from engine.wire import interface
from tests.engine.desk import CONTENT, Desk
from tests.engine.tus_server import TusServer
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.recording import sha256_of
from tests.faults.scripted import TEXT, Asked, reply
from tests.faults.service import Service
from tests.lessons.home import CREATION, PATCH, STATUS, SUBMIT, Home, from_nth
from tests.lessons.shell import Shell, make_recording

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
DISCOVERY = "OPTIONS /v1/uploads"
LOCATION = "HEAD /v1/uploads/{id}"


async def test_uppy_the_fiftieth_429_is_no_worse_than_the_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other append is throttled: as each one that is taken begins the count anew, no wait grows, none ends it."""
    monkeypatch.setattr(interface, "published_limits", lambda _: Limits(max_bytes=50_000))
    appends = 0

    def throttling(_: int, kind: str) -> str | None:
        nonlocal appends
        appends += kind == "PATCH"
        return "429" if kind == "PATCH" and appends % 2 else None

    desk.lanes = 1
    server = TusServer(strike=throttling)
    await desk.run(server)
    waits = [event.seconds or 0.0 for event in desk.told if isinstance(event, Waiting)]
    assert len(waits) >= 50
    assert max(waits) <= 1.0
    assert server.finals == [CONTENT]


@pytest.mark.parametrize("route", [DISCOVERY, CREATION, PATCH, LOCATION, SUBMIT, STATUS])
async def test_huggingface_hub_3325_a_403_is_not_repeated_for_ever(home: Home, route: str) -> None:
    """From whatever call on everything is forbidden: a few requests, one error, and a good key goes on from there."""
    service = home.service
    if route == LOCATION:
        service.replying = from_nth(PATCH, 2, reply(401))
        with pytest.raises(SpeechStreamError):
            await home.transcribe()
    service.requests.clear()
    began_s = home.clock.now_s
    service.replying = from_nth(route, 1, reply(403))
    with pytest.raises(SpeechStreamError) as caught:
        await home.transcribe()
    assert caught.value.exit_code == 75
    assert len(service.requests) - service.requests.index(route) <= 3
    assert home.clock.now_s - began_s < 60.0
    service.replying = lambda _: None
    home.clock.now_s += 60.0

    assert await home.transcribe() == TEXT

    assert list(service.jobs.values()) == [home.recording.read_bytes()]


class OneAtATime(TusServer):
    """Sends an append away while it serves another."""

    async def _append(self, request: httpx.Request, at_most: int) -> httpx.Response:
        if self._busy:
            return httpx.Response(503, stream=httpx.ByteStream(b""))
        return await super()._append(request, at_most)


async def test_azcopy_3080_a_server_that_takes_one_request_at_a_time_gets_everything(desk: Desk) -> None:
    """Nobody has to turn the number of lanes down by hand: those that are sent away wait, and have their turn."""
    server = OneAtATime()
    await desk.run(server)
    assert server.busiest == 1
    assert server.received_bytes == len(CONTENT)
    assert server.finals == [CONTENT]


async def test_runloop_api_client_803_an_overloaded_server_is_not_stormed(desk: Desk) -> None:
    """An hour in which every request times out at the server costs it a request of each lane now and then."""
    until_s = desk.clock.now_s + 3600.0
    server = TusServer(strike=lambda number, _: "408" if number > 9 and desk.clock.now_s < until_s else None)
    await desk.run(server)
    asked = len(server.seen)
    assert asked < 4 * (10 + 2 * 3600 / 30) + 60  # the longest waits are half a minute on average
    assert server.finals == [CONTENT]


@pytest.mark.long
def test_runloop_api_client_803_a_storm_of_resets_makes_no_pile_of_connections(tmp_path: Path) -> None:
    """Every connection is reset within half a second: never more of them than lanes, one to ask, and one to knock."""
    recording = make_recording(tmp_path, 8 << 20)
    plan = Plan(otherwise=Fault(rate_bytes_per_s=4 << 20, cut_within_s=0.5), at_most=12, seed=3)
    with Service(tmp_path / "service") as service, FaultProxy("127.0.0.1", service.port, plan) as proxy:
        shell = Shell(f"http://127.0.0.1:{proxy.port}/v1", tmp_path, recording)
        open_at_once = []
        with shell.command("upload", str(recording), "--recipe", "as-is", "--max-lanes", "3") as command:
            while not command.ended:
                open_at_once.append(sum(not connection.ended for connection in list(proxy.connections)))
                time.sleep(0.02)
            code, printed = command.finish()
        assert max(open_at_once) <= 3 + 1 + 1
        assert (code, [printed.strip()]) == (0, service.jobs())
        assert [sha256_of(path) for path in service.recordings().values()] == [sha256_of(recording)]


async def test_tus_py_client_a_server_that_does_not_answer_stops_nothing_else(home: Home) -> None:
    """While a request hangs, the rest of the program that uses us as a library runs on."""
    moved = threading.Event()
    waited: list[bool] = []

    def hanging(asked: Asked) -> None:
        if asked.method in {"OPTIONS", "HEAD", "PATCH"} and len(waited) < 3:
            moved.clear()
            waited.append(moved.wait(20.0))

    async def run_on() -> None:
        while True:
            await anyio.sleep(0.01)
            moved.set()

    home.service.replying = hanging
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_on)
        assert await home.transcribe() == TEXT
        tasks.cancel_scope.cancel()
    assert waited == [True] * 3


async def test_azcopy_1657_whoever_waits_is_told_for_what(desk: Desk) -> None:
    """Never a bar that stands still without a word: each failure is told with its reason, as a line of its own."""
    chance = random.Random(5)
    server = TusServer(strike=lambda _, __: "503" if chance.random() < 0.4 else None)
    await desk.run(server)
    waits = [event for event in desk.told if isinstance(event, Waiting)]
    assert len(waits) >= 5
    assert all("503" in event.reason for event in waits)
    assert desk.clock.slept_s
    assert sum(desk.clock.slept_s) == pytest.approx(sum(event.seconds or 0.0 for event in waits), rel=0.01)

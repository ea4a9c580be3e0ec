from __future__ import annotations

import heapq
import os
import random
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.core.plan import LEAST_LANE_BYTES
from engine.events import Event, Waiting
from engine.runtime.manifest import Manifest
from engine.runtime.turns import Turns
from tests.faults.command import Command, environment
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.recording import sha256_of, write_wav
from tests.faults.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE_BYTES = 12 << 20
UPLOADS = SIZE_BYTES // LEAST_LANE_BYTES + 1  # the lanes, and the one that joins them
RATE_BYTES_S = 8 << 20
PATIENCE_S = 60.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The real service, with its documented limits, and without a transcriber."""
    with Service(tmp_path / "service") as service:
        yield service


@pytest.fixture
def slow_link(service: Service) -> Iterator[FaultProxy]:
    """A way to the service on which the recording takes a second and a half."""
    plan = Plan(otherwise=Fault(rate_bytes_per_s=RATE_BYTES_S))
    with FaultProxy("127.0.0.1", service.port, plan) as proxy:
        yield proxy


def uploading(recording: Path, state: Path, port: int, *options: str) -> Command:
    words = ("upload", str(recording), "--recipe", "as-is", *options)
    return Command(words, environment(state, f"http://127.0.0.1:{port}/v1"))


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("it did not come to that")
        time.sleep(0.01)


def follows(command: Command) -> bool:
    """Whether it has said that another process is at work on its job."""
    return any(event["attached"] for event in command.of("opened"))


def test_two_processes_share_one_upload(tmp_path: Path, service: Service, slow_link: FaultProxy) -> None:
    """Started at once on one recording, one process uploads and the other follows; both print the one id."""
    recording = tmp_path / "recording.wav"
    digest = write_wav(recording, SIZE_BYTES, seed=1)
    again = ("--progress", "json")

    with (
        uploading(recording, tmp_path / "state", slow_link.port, *again) as one,
        uploading(recording, tmp_path / "state", slow_link.port, *again) as other,
    ):
        ends = [one.finish(), other.finish()]

    assert [follows(one), follows(other)].count(True) == 1
    assert ends == [(0, f"{service.jobs()[0]}\n")] * 2
    assert (len(service.jobs()), service.upload_count()) == (1, UPLOADS)
    assert [sha256_of(path) for path in service.recordings().values()] == [digest]
    assert slow_link.bytes_up < SIZE_BYTES * 1.01


def test_the_follower_takes_over(tmp_path: Path, service: Service, slow_link: FaultProxy) -> None:
    """When the process that uploads is killed, the one that followed it goes on from there, to one job."""
    recording = tmp_path / "recording.wav"
    digest = write_wav(recording, SIZE_BYTES, seed=2)
    again = ("--progress", "json")

    with (
        uploading(recording, tmp_path / "state", slow_link.port, *again) as one,
        uploading(recording, tmp_path / "state", slow_link.port, *again) as other,
    ):
        wait_until(lambda: (follows(one) or follows(other)) and slow_link.bytes_up > SIZE_BYTES // 3)
        owner, follower = (other, one) if follows(one) else (one, other)
        assert owner.kill() == -9
        end = follower.finish()

    assert end == (0, f"{service.jobs()[0]}\n")
    assert (len(service.jobs()), service.upload_count()) == (1, UPLOADS)
    assert [sha256_of(path) for path in service.recordings().values()] == [digest]
    assert slow_link.bytes_up < SIZE_BYTES + (8 << 20)


@pytest.mark.skipif("SPEECHSTREAM_FULL" not in os.environ, reason="waits a real minute; set SPEECHSTREAM_FULL=1")
def test_six_uploads_at_once_keep_to_the_limit(tmp_path: Path, service: Service) -> None:
    """Six processes with one state folder never hear a 429: five go, the sixth says that it waits, and then goes."""
    commands = []
    for number in range(6):
        recording = tmp_path / f"recording-{number}.wav"
        write_wav(recording, 1 << 20, seed=number)
        commands.append(uploading(recording, tmp_path / "state", service.port))

    with commands[0], commands[1], commands[2], commands[3], commands[4], commands[5]:
        ends = [command.finish() for command in commands]

    assert [code for code, _ in ends] == [0] * 6
    assert sorted(printed.strip() for _, printed in ends) == sorted(service.jobs())
    assert " 429 " not in service.log
    waits = ["takes 5 uploads a minute; waiting for a turn" in "".join(command.complaints) for command in commands]
    assert waits.count(True) == 1


class SharedClock:
    """One time for all, which moves on to the next due sleeper when everybody sleeps."""

    def __init__(self) -> None:
        self._now_s = 1_000_000.0
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def wall(self) -> float:
        return self._now_s

    monotonic = wall

    def chance(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        due = anyio.Event()
        heapq.heappush(self._sleepers, (self._now_s + seconds, id(due), due))
        await due.wait()

    async def run(self) -> None:
        """Let time pass until nobody sleeps any more."""
        await anyio.wait_all_tasks_blocked()
        while self._sleepers:
            self._now_s, _, due = heapq.heappop(self._sleepers)
            due.set()
            await anyio.wait_all_tasks_blocked()


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(5))
async def test_turns_keep_to_the_limit_across_manifests(tmp_path: Path, seed: int) -> None:
    """Whenever within its call the service counts it, no minute holds more than five of thirteen processes' calls."""
    clock, chance = SharedClock(), random.Random(seed)
    counted_at: list[float] = []
    told: list[Event] = []

    async def call(manifest: Manifest) -> None:
        async with Turns(manifest, clock, told.append, account="one key").upload("job"):
            lasts_s, share = chance.uniform(0.0, 8.0), chance.random()
            await clock.sleep(lasts_s * share)
            counted_at.append(clock.wall())
            await clock.sleep(lasts_s * (1 - share))

    manifests = [Manifest(tmp_path) for _ in range(13)]
    async with anyio.create_task_group() as tasks:
        for manifest in manifests:
            tasks.start_soon(call, manifest)
        tasks.start_soon(clock.run)
    for manifest in manifests:
        manifest.close()

    assert len(counted_at) == 13
    counted_at.sort()
    assert all(later - earlier >= 60 for earlier, later in zip(counted_at, counted_at[5:], strict=False))
    assert {type(event) for event in told} == {Waiting}

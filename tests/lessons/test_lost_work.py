"""Work that others lost: uploads begun anew, parts sent twice, uploads taken down, memories that broke."""

from __future__ import annotations

import random
import shutil
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httpx
import pytest

from engine.core import plan as planning
from engine.errors import GaveUp, KeyRejected, NoSuchJob
from engine.events import Uploaded
from engine.model import JobState, Lane, Plan, Span, WireName
from engine.redaction import Secret
from engine.runtime.manifest import Manifest
from tests.engine.desk import CONTENT, Desk
from tests.engine.tus_server import Killed, TusServer, at
from tests.engine.world import JOB
from tests.faults.plan import Fault
from tests.faults.plan import Plan as Faults
from tests.faults.proxy import FaultProxy
from tests.faults.recording import sha256_of
from tests.faults.scripted import TEXT, reply
from tests.faults.service import Service
from tests.lessons.home import CREATION, PATCH, from_nth
from tests.lessons.shell import Shell, make_recording

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.command import Command
    from tests.lessons.home import Home

HEADERS_BYTES = 64 << 10  # more than all heads of requests of one run


def shown(desk: Desk) -> list[int]:
    """What the user was shown as acknowledged."""
    return [event.acked_bytes for event in desk.told if isinstance(event, Uploaded)]


@pytest.mark.anyio
async def test_azcopy_806_what_was_acknowledged_is_skipped_and_keeps_its_place(desk: Desk) -> None:
    """Resumed half way: no byte of a finished lane goes again, none is missing in the join, progress starts there."""
    server = TusServer()
    server.strike = lambda _, __: "killed" if server.received_bytes > len(CONTENT) // 2 else None
    with pytest.raises(Killed):
        await desk.run(server)
    before = shown(desk)
    server.strike = lambda _, __: None
    desk.told.clear()

    await desk.run(server)

    assert server.received_bytes == len(CONTENT)
    assert server.finals == [CONTENT]
    assert shown(desk)[0] >= before[-1] > 0


def test_huggingface_hub_3726_ctrl_c_and_restart_send_nothing_again_that_was_acknowledged(tmp_path: Path) -> None:
    """Interrupted twice, each run sends what the one before had not brought home, counted on the line."""
    recording = make_recording(tmp_path, 12 << 20)
    left_bytes = 12 << 20
    with (
        Service(tmp_path / "service") as service,
        FaultProxy("127.0.0.1", service.port, Faults(otherwise=Fault(rate_bytes_per_s=4 << 20))) as proxy,
    ):
        shell = Shell(f"http://127.0.0.1:{proxy.port}/v1", tmp_path, recording)
        words = ("upload", str(recording), "--recipe", "as-is", "--max-lanes", "3")
        for _ in range(2):
            sent_before = proxy.bytes_from_clients
            with shell.command(*words) as command:
                wait_for_progress(command, beyond_bytes=(12 << 20) - left_bytes)
                command.process.send_signal(signal.SIGINT)
                assert command.finish()[0] == 130
            assert proxy.bytes_from_clients - sent_before <= left_bytes + HEADERS_BYTES
            left_bytes = (12 << 20) - int(str(command.of("uploaded")[-1]["acked_bytes"]))
        sent_before = proxy.bytes_from_clients

        code, printed = shell.run(*words)

        assert 0 < left_bytes < 12 << 20
        assert proxy.bytes_from_clients - sent_before <= left_bytes + HEADERS_BYTES
        assert (code, [printed]) == (0, service.jobs())
        assert [sha256_of(path) for path in service.recordings().values()] == [sha256_of(recording)]


def wait_for_progress(command: Command, beyond_bytes: int) -> None:
    """Return when more than so much is acknowledged."""
    until = time.monotonic() + 60.0
    while not any(int(str(event["acked_bytes"])) > beyond_bytes for event in command.of("uploaded")):
        assert time.monotonic() < until, "nothing is acknowledged"
        time.sleep(0.01)


@pytest.mark.anyio
async def test_tus_js_client_an_expired_upload_is_made_anew_and_the_run_ends_well(home: Home) -> None:
    """The resource is gone at the resume: a new one is filled, the run succeeds, and nothing is left to do."""
    service = home.service
    service.replying = from_nth(PATCH, 2, reply(401))
    with pytest.raises(KeyRejected):
        await home.transcribe()
    service.replying = lambda _: None
    service.uploads.clear()

    assert await home.transcribe() == TEXT

    assert list(service.jobs.values()) == [home.recording.read_bytes()]
    asked = len(service.requests)
    assert await home.transcribe() == TEXT
    assert len(service.requests) == asked


@pytest.mark.anyio
async def test_uppy_a_plan_of_an_older_version_goes_on_as_it_was_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other sizes of parts and lanes in the next version: the begun upload keeps its own, and no byte goes twice."""
    server = TusServer(strike=at(12, "killed"))
    with pytest.raises(Killed):
        await desk.run(server)
    monkeypatch.setattr(planning, "PART_SIZE_BYTES", 64_000)
    monkeypatch.setattr(planning, "LEAST_LANE_BYTES", 1_000_000)

    await replace(desk, lanes=2).run(server)

    assert server.finals == [CONTENT]
    assert server.received_bytes == len(CONTENT)
    assert sum(upload.partial for upload in server.uploads.values()) == 8
    with Manifest(desk.state) as manifest:
        plan = manifest.job(JOB.id).plan
        assert plan is not None
        assert (plan.part_size_bytes, plan.part_count) == (100_000, 26)


@dataclass
class TakesLittle(TusServer):
    """Takes at most 70,001 bytes of an append, and says so."""

    async def _append(self, request: httpx.Request, at_most: int) -> httpx.Response:
        return await super()._append(request, min(at_most, 70_001))


@pytest.mark.anyio
@pytest.mark.parametrize("lanes", [1, 4])
async def test_upchunk_a_partly_taken_append_goes_on_with_what_is_missing(desk: Desk, lanes: int) -> None:
    """The suffix alone is sent next, up to a last odd byte, and nothing beyond the end."""
    server = TakesLittle()
    await replace(desk, lanes=lanes).run(server)
    assert server.received_bytes == len(CONTENT)
    assert server.finals == [CONTENT]


@pytest.mark.anyio
async def test_aws_cli_1425_an_upload_that_fails_is_not_taken_down(home: Home) -> None:
    """When patience ends nothing is removed from the server, and the next run goes on with the same upload."""
    service = home.service
    service.replying = from_nth(PATCH, 2, reply(503))
    with pytest.raises(GaveUp) as caught:
        await home.transcribe(retry_for_s=600.0)
    assert "speechstream resume" in str(caught.value.hint)
    held = [len(upload.content) for upload in service.uploads.values()]
    service.replying = lambda _: None

    assert await home.transcribe() == TEXT

    assert held > [0]
    assert service.requests.count(CREATION) == 1
    assert not any(request.startswith("DELETE") for request in service.requests)
    assert list(service.jobs.values()) == [home.recording.read_bytes()]


@pytest.mark.anyio
async def test_rclone_4313_two_hundred_failures_in_a_row_cost_nothing_but_their_time(desk: Desk) -> None:
    """A link that blinks fails every request for a while: no count of retries ends the upload or begins it anew."""

    def blinking(number: int, _: str) -> str | None:
        if 10 <= number < 210:
            raise httpx.ConnectError("No route to host")
        return None

    server = TusServer(strike=blinking)
    began_s = desk.clock.now_s
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert server.received_bytes == len(CONTENT)
    assert desk.clock.now_s - began_s < 200 * 5


def test_huggingface_hub_3112_a_state_file_torn_anywhere_costs_only_its_last_steps(state: Path, tmp_path: Path) -> None:
    """Power cuts tear what is written last: the manifest opens, is what it was after some step, and goes on."""
    plan = Plan(1000, 30_000, (Span(0, 30_000),))
    with Manifest(state) as manifest:
        manifest.find_or_add(JOB, new=False)
        manifest.move(JOB.id, JobState.PREPARING)
        manifest.save_plan(JOB.id, plan, [Lane(0, plan.lanes[0])], WireName.TUS)
        for acked in range(1000, 30_001, 1000):
            url = Secret("https://speech.example/v1/uploads/u")
            lane = Lane(0, plan.lanes[0], created=True, url=url, acked_bytes=acked, offered_bytes=acked)
            manifest.save_lane(JOB.id, lane, {acked // 1000 - 1: acked.to_bytes(16)})
        log = (state / "manifest.db-wal").read_bytes()
        copies = [copy_of(state, tmp_path / f"cut-{size}", log[:size]) for size in range(0, len(log), 6007)]
        noise = random.Random(1).randbytes(5000)
        copies.append(copy_of(state, tmp_path / "overwritten", log[:-5000] + noise))

    known = [acknowledged(copy) for copy in copies]

    assert known[:-1] == sorted(known[:-1])
    assert known[0] < 1000 < known[-2]
    assert known[-1] >= 25_000


def copy_of(state: Path, copy: Path, log: bytes) -> Path:
    """The state folder as a power cut leaves it when no more than this of the log was written."""
    shutil.copytree(state, copy, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    (copy / "manifest.db-wal").write_bytes(log)
    return copy


def acknowledged(state: Path) -> int:
    """What the manifest knows to be acknowledged, proved by as many digests; -1 where it has no job."""
    with Manifest(state) as manifest:
        try:
            job = manifest.job(JOB.id)
        except NoSuchJob:
            return -1
        lanes = manifest.lanes(job)
        acked = lanes[0].acked_bytes if lanes else 0
        assert len(manifest.digests(JOB.id)) == acked // 1000
        manifest.move(JOB.id, JobState.CANCELLED)  # it takes further steps
        return acked

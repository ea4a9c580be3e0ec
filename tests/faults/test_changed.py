"""The recording changes between runs or under one, and bytes rot on the server: only what differs goes again."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from engine import Client
from engine.core.plan import LEAST_LANE_BYTES, PART_SIZE_BYTES
from engine.errors import KeyRejected, RecordingChanged
from engine.events import Uploaded, Warned
from engine.model import JobState
from engine.runtime.manifest import Manifest
from engine.wire.address import resolve
from tests.engine.world import Events
from tests.faults.proxy import FaultProxy
from tests.faults.service import KEY, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from engine.events import Event
    from engine.model import JobRecord

pytestmark = pytest.mark.anyio
LANES = 10
SIZE = LANES * LEAST_LANE_BYTES
TALK_BYTES = 256 << 10  # headers of all requests of a run, generously
IN_FLIGHT_BYTES = 4 << 20  # what a run that was stopped had sent and nobody had acknowledged, over four lanes


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Bench:
    """One recording, one service, and a proxy between them that counts; every `run` is another run of the program."""

    service: Service
    proxy: FaultProxy
    recording: Path
    state: Path
    told: Events = field(default_factory=Events)
    seen_bytes: int = 0

    async def run(self, *, until: float = 2.0, at: Callable[[], None] | None = None, new: bool = False) -> str | None:
        """Upload; at `until` of all bytes acknowledged do `at`, or stop there. The processing_id, if it came to one."""
        self.told.clear()
        self.seen_bytes = self.proxy.bytes_from_clients
        with anyio.CancelScope() as scope:
            acts = [at or scope.cancel]

            def listen(event: Event) -> None:
                self.told.append(event)
                if isinstance(event, Uploaded) and event.acked_bytes >= until * event.total_bytes and acts:
                    acts.pop()()

            client = Client(
                endpoint=f"http://127.0.0.1:{self.proxy.port}/v1",
                api_key=KEY,
                state_dir=self.state,
                recipe="as-is",
                new=new,
            )
            client.listen(listen)
            async with client:
                return (await client.upload(self.recording)).processing_id
        return None

    @property
    def sent_bytes(self) -> int:
        """What the newest run sent, headers included."""
        return self.proxy.bytes_from_clients - self.seen_bytes

    def job(self) -> JobRecord:
        """The one job there is."""
        with Manifest(self.state) as manifest:
            (job,) = manifest.jobs()
            return job

    def acked_bytes(self) -> int:
        with Manifest(self.state) as manifest:
            return sum(lane.acked_bytes for lane in manifest.lanes(self.job()))

    def offered(self) -> list[int]:
        """How far each lane may have got, in bytes from its start."""
        with Manifest(self.state) as manifest:
            return [lane.offered_bytes for lane in manifest.lanes(self.job())]

    def warnings(self) -> list[str]:
        return [event.message for event in self.told.of(Warned) if isinstance(event, Warned)]

    def write(self, offset: int, content: bytes) -> None:
        with self.recording.open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def judge(self, processing_id: str | None) -> None:
        """One job with the recording's bytes as they are now."""
        assert processing_id is not None
        assert self.service.jobs() == [processing_id]
        (received,) = self.service.recordings().values()
        assert received.read_bytes() == self.recording.read_bytes()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Nothing has been sent yet."""
    recording = tmp_path / "talk.wav"
    recording.write_bytes(random.Random(21).randbytes(SIZE))
    with Service(tmp_path / "service") as service, FaultProxy("127.0.0.1", service.port) as proxy:
        yield Bench(service, proxy, recording, tmp_path / "state")


async def half_sent(bench: Bench) -> JobRecord:
    """A run that ended half way."""
    assert await bench.run(until=0.5) is None
    job = bench.job()
    assert job.state is JobState.UPLOADING
    return job


async def test_an_edit_between_two_runs_costs_its_lane(bench: Bench) -> None:
    """One byte of what was sent is another: the same job and key, told, and no more goes again than lanes it is in."""
    job = await half_sent(bench)
    acked = bench.acked_bytes()
    bench.write(1000, b"edited")
    processing_id = await bench.run()
    bench.judge(processing_id)
    assert (bench.job().id, bench.job().idempotency_key) == (job.id, job.idempotency_key)
    assert bench.sent_bytes <= SIZE - acked + LEAST_LANE_BYTES + IN_FLIGHT_BYTES + TALK_BYTES
    assert any(message.startswith("the recording changed since ") for message in bench.warnings())


async def test_a_touch_between_two_runs_costs_nothing(bench: Bench) -> None:
    """Its time is another, its bytes are not: everything that was sent stays."""
    await half_sent(bench)
    acked = bench.acked_bytes()
    os.utime(bench.recording)
    bench.judge(await bench.run())
    assert bench.sent_bytes <= SIZE - acked + IN_FLIGHT_BYTES + TALK_BYTES
    assert any(message.endswith("bytes sent 0 go again") for message in bench.warnings())


async def test_a_recording_that_grew_between_two_runs_keeps_its_lanes(bench: Bench) -> None:
    """The rest becomes more lanes; the old end, in the middle of a part, is hashed again and proved."""
    await half_sent(bench)
    acked = bench.acked_bytes()
    more = random.Random(22).randbytes(3 * LEAST_LANE_BYTES + 12345)
    with bench.recording.open("ab") as file:
        file.write(more)
    bench.judge(await bench.run())
    assert bench.sent_bytes <= SIZE + len(more) - acked + IN_FLIGHT_BYTES + TALK_BYTES
    assert any(f"is {len(more)} bytes longer" in message for message in bench.warnings())
    plan = bench.job().plan
    assert plan is not None
    assert len([lane for lane in plan.lanes if lane.start >= SIZE]) == 3  # how the rest is divided, its speed decides


async def test_a_recording_that_grew_after_all_of_it_was_sent(bench: Bench) -> None:
    """Every lane was complete, and perhaps joined: they are joined anew, with the rest."""
    assert await bench.run(until=1.0) is None
    with bench.recording.open("ab") as file:
        file.write(b"and one more thing")
    bench.judge(await bench.run())
    assert bench.sent_bytes <= IN_FLIGHT_BYTES + TALK_BYTES


async def test_a_recording_that_shrank_is_not_sent(bench: Bench) -> None:
    """A truncated copy is more likely than a wish: both sizes are named, nothing is sent, and `--new` would do it."""
    job = await half_sent(bench)
    whole = bench.recording.read_bytes()
    os.truncate(bench.recording, SIZE - 1)
    with pytest.raises(RecordingChanged, match=rf"{SIZE} bytes when job {job.id} began, {SIZE - 1} now") as caught:
        await bench.run()
    assert "--new" in (caught.value.hint or "")
    assert bench.sent_bytes == 0
    assert bench.job() == job
    bench.recording.write_bytes(whole)
    bench.judge(await bench.run())
    assert bench.job().id == job.id


async def test_a_recording_that_shrank_is_sent_when_asked(bench: Bench) -> None:
    """`--new` ends the old job and makes one of the recording as it is now."""
    job = await half_sent(bench)
    os.truncate(bench.recording, PART_SIZE_BYTES)
    bench.judge(await bench.run(new=True))
    with Manifest(bench.state) as manifest:
        assert manifest.job(job.id).state is JobState.CANCELLED


async def test_an_edit_under_the_run_is_taken_up_in_it(bench: Bench) -> None:
    """No other command is needed: it is noticed, told, and the lanes that hold it go again."""
    processing_id = await bench.run(until=0.5, at=lambda: bench.write(2000, b"edited under way"))
    bench.judge(processing_id)
    assert bench.sent_bytes <= SIZE + LEAST_LANE_BYTES + 2 * IN_FLIGHT_BYTES + TALK_BYTES
    assert [message.partition(" since ")[0] for message in bench.warnings()] == ["the recording changed"]


@pytest.mark.long
async def test_a_recording_that_never_rests_is_given_up_for_now(bench: Bench) -> None:
    """Somebody is still writing: after three times the error says so and names `--follow`; at rest it goes on."""

    def scribble(event: Event) -> None:
        if isinstance(event, Uploaded):
            bench.write(3000, os.urandom(8))

    client = Client(
        endpoint=f"http://127.0.0.1:{bench.proxy.port}/v1", api_key=KEY, state_dir=bench.state, recipe="as-is"
    )
    client.listen(bench.told.append)
    client.listen(scribble)
    async with client:
        with pytest.raises(RecordingChanged) as caught:
            await client.upload(bench.recording)
    assert "--follow" in (caught.value.hint or "")
    assert len([message for message in bench.warnings() if "changed since" in message]) == 3
    bench.judge(await bench.run())


async def test_bytes_that_rotted_on_the_server_cost_their_lane(bench: Bench) -> None:
    """All lanes are there, one bit of one is another: the submission says which parts, and one lane goes again."""
    assert await bench.run(until=1.0) is None
    with Manifest(bench.state) as manifest:
        assert all(lane.complete for lane in manifest.lanes(bench.job()))
    sizes = {path: path.stat().st_size for path in (bench.service.data / "uploads").iterdir()}
    victim = next(path for path, size in sizes.items() if size == LEAST_LANE_BYTES)
    with victim.open("r+b") as file:
        file.seek(PART_SIZE_BYTES + 77)
        byte = file.read(1)
        file.seek(PART_SIZE_BYTES + 77)
        file.write(bytes([byte[0] ^ 1]))
    bench.judge(await bench.run())
    assert LEAST_LANE_BYTES <= bench.sent_bytes <= LEAST_LANE_BYTES + TALK_BYTES
    assert f"the server holds other bytes than were sent; {LEAST_LANE_BYTES} bytes go again" in bench.warnings()


async def test_a_joined_upload_that_is_gone_is_joined_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lanes are still there: nothing of the recording goes again, and it is told."""

    async def rejected(*_: object) -> str:
        raise KeyRejected("not this key")

    monkeypatch.setattr("engine.stages.submission.submit", rejected)
    with pytest.raises(KeyRejected):
        await bench.run()
    monkeypatch.undo()
    with Manifest(bench.state) as manifest:
        address = manifest.job(bench.job().id).joined_url
    assert address is not None
    url = resolve(f"http://127.0.0.1:{bench.service.port}/v1/", address.reveal())
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}", "Tus-Resumable": "1.0.0"}) as somebody:
        assert (await somebody.delete(url.reveal())).status_code == 204
    bench.judge(await bench.run())
    assert bench.sent_bytes <= TALK_BYTES
    assert bench.warnings() == ["the server no longer has the joined upload; its lanes are joined again"]

"""A lane on its way to a server that holds what it gets, with one fault at every step of it."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
import xxhash

from engine.core.pacing import RequestSize
from engine.core.retry import RetryPolicy
from engine.errors import AmbiguousUpload, KeyRejected, SpeechStreamError, UploadRefused
from engine.events import Uploaded, Warned
from engine.model import ArtifactRecord, JobState, Lane, Plan, Span, WireName
from engine.runtime.artifact import ArtifactFile, PartHasher
from engine.runtime.exchange import Exchanger
from engine.runtime.lanes import Lanes
from engine.runtime.manifest import Manifest
from engine.runtime.meter import Meter
from engine.runtime.persist import Persistence
from engine.runtime.supply import Sealed
from engine.runtime.turns import Turns
from engine.runtime.upload import LaneUpload
from engine.wire.interface import SingleWire, TusWire
from tests.engine.world import JOB, Events, FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.core.lane import LaneState
    from engine.wire.interface import Wire

pytestmark = pytest.mark.anyio

PART_BYTES = 256 << 10
CONTENT = bytes(number * 7 % 256 for number in range(256)) * 10_000  # 2.56 MB: two appends, ten parts
FILES = "https://speech.example/v1/uploads"
TUS = TusWire(FILES, "talk.ogg", "audio/ogg")
SINGLE = SingleWire("https://speech.example/v1", "talk.ogg", "audio/ogg", "6f1d", "b0undary")


class Killed(BaseException):
    """The process ends here: nothing catches it."""


@dataclass
class Server(httpx.AsyncBaseTransport):
    """A tus server in memory. `faults` says what happens to which request, counted from 0."""

    faults: dict[int, str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    received_bytes: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve one request, or fail it."""
        fault = self.faults.get(len(self.seen), "")
        self.seen.append(request.method)
        match fault:
            case "unreachable":
                raise httpx.ConnectError("refused")
            case "killed before":
                raise Killed
            case "cut":
                await self._serve(request, at_most=300_000)
                raise httpx.ReadError("reset")
            case "401" | "403" | "423" | "429" | "500" | "503" | "507":
                return httpx.Response(int(fault), stream=httpx.ByteStream(b""))
            case "takes nothing":
                return self._answer(204, **{"Upload-Offset": request.headers["upload-offset"]})
            case "portal":
                return httpx.Response(200, stream=httpx.ByteStream(b"<html>Please log in</html>"))
            case "400 after all":
                await self._serve(request)
                return httpx.Response(400, stream=httpx.ByteStream(b"ERR_UNEXPECTED_EOF"))
        reply = await self._serve(request)
        if fault == "unanswered":
            raise httpx.RemoteProtocolError("closed without an answer")
        if fault == "killed after":
            raise Killed
        return reply

    async def _serve(self, request: httpx.Request, at_most: int = 1 << 40) -> httpx.Response:
        path = request.url.path
        if request.method == "POST":
            name = f"/v1/uploads/{len(self.uploads)}"
            self.uploads[name] = bytearray()
            return self._answer(201, Location=name)
        held = self.uploads[path]
        if request.method == "PATCH":
            if int(request.headers["upload-offset"]) != len(held):
                return self._answer(409)
            assert isinstance(request.stream, httpx.AsyncByteStream)
            taken = 0
            async for piece in request.stream:
                held += piece[: at_most - taken]
                taken += len(piece)
                if taken >= at_most:
                    break
            self.received_bytes += min(taken, at_most)
        return self._answer(204 if request.method == "PATCH" else 200, **{"Upload-Offset": str(len(held))})

    @staticmethod
    def _answer(status: int, **headers: str) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(b""))


@dataclass
class Desk:
    """What stays on this machine between two runs of the program: the state folder and the artifact."""

    state: Path
    artifact: Path
    clock: FakeClock
    told: Events
    wire: Wire = TUS

    def prepare(self) -> None:
        """Bring the job to where its upload begins."""
        self.artifact.write_bytes(CONTENT)
        record = ArtifactRecord("artifact", len(CONTENT), "audio/ogg", "talk.ogg", "standard", is_source=False)
        plan = Plan(PART_BYTES, len(CONTENT), (Span(0, len(CONTENT)),))
        with Manifest(self.state) as manifest:
            manifest.find_or_add(JOB, new=False)
            manifest.move(JOB.id, JobState.PREPARING)
            manifest.move(JOB.id, JobState.UPLOADING, artifact=record)
            manifest.save_plan(JOB.id, plan, [Lane(0, plan.lanes[0])], self.wire.name)

    @asynccontextmanager
    async def opened(self, transport: httpx.AsyncBaseTransport) -> AsyncIterator[LaneUpload]:
        """One run of the program: everything it knows it reads from the manifest."""
        exchanger = Exchanger(self.clock, user_agent="test", transport=transport)
        with Manifest(self.state) as manifest, ArtifactFile(self.artifact, len(CONTENT)) as file:
            job = manifest.job(JOB.id)
            assert job.plan is not None
            every = manifest.lanes(job)
            lanes = Lanes(job.id, every, every, Sealed(len(CONTENT)), manifest, self.clock, divisible=False)
            assert lanes.take() is not None
            async with exchanger.line() as line:
                yield LaneUpload(
                    job=job,
                    base_url=JOB.endpoint,
                    wire=self.wire,
                    line=line,
                    manifest=manifest,
                    file=file,
                    hasher=PartHasher(file, job.plan, manifest.digests(JOB.id)),
                    persistence=Persistence(JOB.id, self.clock, exchanger.brake, self.told.append, RetryPolicy()),
                    turns=Turns(manifest, self.clock, self.told.append, "account"),
                    emit=self.told.append,
                    meter=Meter(JOB.id, Sealed(len(CONTENT)), self.clock, self.told.append),
                    supply=Sealed(len(CONTENT)),
                    lanes=lanes,
                    workforce=exchanger.workforce,
                    size=RequestSize(self.wire.limits),
                )
        await exchanger.aclose()

    async def run(self, transport: httpx.AsyncBaseTransport) -> tuple[LaneState, str | None]:
        """Bring the lane to its end."""
        async with self.opened(transport) as upload:
            (lane,) = upload.manifest.lanes(upload.job)
            return await upload.run(lane, submission_follows=True)

    def stored(self) -> tuple[JobState, Lane, dict[int, bytes]]:
        """What the manifest says now."""
        with Manifest(self.state) as manifest:
            job = manifest.job(JOB.id)
            (lane,) = manifest.lanes(job)
            return job.state, lane, manifest.digests(JOB.id)


@pytest.fixture
def desk(state: Path, tmp_path: Path, clock: FakeClock, told: Events) -> Desk:
    """A job whose upload is about to begin."""
    desk = Desk(state, tmp_path / "artifact", clock, told)
    desk.prepare()
    return desk


async def test_an_upload_without_trouble(desk: Desk) -> None:
    """One creation and as few appends as the sizes allow; every byte once, every part proved."""
    server = Server()
    state, processing_id = await desk.run(server)
    assert server.seen == ["POST", "PATCH", "PATCH"]
    assert server.uploads == {"/v1/uploads/0": CONTENT}
    assert server.received_bytes == len(CONTENT)
    assert (state.lane.complete, processing_id) == (True, None)
    _, lane, digests = desk.stored()
    assert lane.acked_bytes == len(CONTENT)
    assert digests == {
        index: xxhash.xxh3_128_digest(CONTENT[index * PART_BYTES : (index + 1) * PART_BYTES]) for index in range(10)
    }


PASSING = ("unreachable", "cut", "423", "429", "500", "503", "portal", "unanswered", "400 after all")


STEPS = [(number, fault) for number in range(3) for fault in PASSING if (number, fault) != (0, "400 after all")]


@pytest.mark.parametrize(("number", "fault"), STEPS)
async def test_one_fault_at_any_step_costs_little(desk: Desk, number: int, fault: str) -> None:
    """Whatever happens to whichever request, the server ends with the artifact and gets hardly a byte twice."""
    server = Server({number: fault})
    state, _ = await desk.run(server)
    assert state.lane.complete
    assert state.lane.generation == 1
    assert bytes(server.uploads[f"/v1/uploads/{len(server.uploads) - 1}"]) == CONTENT
    assert server.received_bytes == len(CONTENT)
    assert [event.message for event in desk.told.of(Warned) if isinstance(event, Warned)] == []


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_a_link_that_breaks_again_and_again_gets_there(desk: Desk, count: int) -> None:
    """Every cut append keeps what arrived; no number of cuts begins the upload anew."""
    server = Server(dict.fromkeys(range(1, 1 + 2 * count, 2), "cut"))
    state, _ = await desk.run(server)
    assert state.lane.generation == 1
    assert list(server.uploads.values()) == [CONTENT]
    assert server.received_bytes == len(CONTENT)


@pytest.mark.parametrize("moment", ["killed before", "killed after", "cut"])
@pytest.mark.parametrize("number", range(3))
async def test_a_kill_at_any_step_loses_nothing(desk: Desk, number: int, moment: str) -> None:
    """The next run asks where the server stands and goes on from there; a creation may leave one orphan."""
    server = Server({number: moment, number + 1: "killed before"})
    with pytest.raises(Killed):
        await desk.run(server)
    state, lane, _ = desk.stored()
    assert state is JobState.UPLOADING
    held = max((len(held) for held in server.uploads.values()), default=0)
    assert lane.acked_bytes <= held <= lane.offered_bytes
    again = Server(uploads=server.uploads)
    await desk.run(again)
    assert CONTENT in [bytes(held) for held in server.uploads.values()]
    assert server.received_bytes + again.received_bytes == len(CONTENT)
    assert len(server.uploads) <= (2 if number == 0 else 1)


async def test_progress_never_goes_back(desk: Desk) -> None:
    """What is shown as acknowledged only grows, and never runs ahead of the server."""
    await desk.run(Server({1: "cut", 4: "unanswered"}))
    acked = [event.acked_bytes for event in desk.told.of(Uploaded) if isinstance(event, Uploaded)]
    assert acked == sorted(acked)
    assert acked[-1] == len(CONTENT)


@pytest.mark.parametrize("number", range(4))
async def test_a_bad_key_stops_at_once_and_keeps_everything(desk: Desk, number: int) -> None:
    """No second request with a key that was refused; with a good one the same upload goes on."""
    server = Server({number: "401", 1: "cut"} if number != 1 else {1: "401"})
    with pytest.raises(KeyRejected) as caught:
        await desk.run(server)
    assert len(server.seen) == number + 1
    assert "speechstream resume" in str(caught.value.hint)
    await desk.run(Server(uploads=server.uploads))
    assert [bytes(held) for held in server.uploads.values()] == [CONTENT]


async def test_a_full_server_is_told_as_such(desk: Desk) -> None:
    """507 is not worth a night of repeats; what is there is kept."""
    with pytest.raises(UploadRefused, match="no space"):
        await desk.run(Server({2: "507"}))
    _, lane, _ = desk.stored()
    assert lane.acked_bytes > 0


async def test_a_recording_that_changes_meanwhile_is_not_mixed(desk: Desk) -> None:
    """After a change on disk the upload ends before the server can take two recordings for one."""
    server = Server({2: "killed before"})
    with pytest.raises(Killed):
        await desk.run(server)
    changed = bytearray(CONTENT)
    changed[len(server.uploads["/v1/uploads/0"]) - 1] ^= 1
    desk.artifact.write_bytes(changed[: len(CONTENT) - 1])
    with pytest.raises(SpeechStreamError, match="and had 2560000 when its upload began"):
        await desk.run(Server(uploads=server.uploads))


@dataclass
class Documented(httpx.AsyncBaseTransport):
    """The documented call alone: one POST makes one job."""

    desk: Desk
    fates: list[str]
    jobs: int = 0
    states: list[JobState] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Meet the next fate."""
        fate = self.fates.pop(0)
        if fate == "early 502":
            return httpx.Response(502, stream=httpx.ByteStream(b""))
        if fate == "cut":
            assert isinstance(request.stream, httpx.AsyncByteStream)
            await anext(aiter(request.stream))
            raise httpx.WriteError("reset")
        body = await request.aread()
        self.states.append(self.desk.stored()[0])
        assert CONTENT in body
        if fate == "killed":
            raise Killed
        if fate == "unanswered":
            self.jobs += 1
            raise httpx.ReadError("reset")
        if fate in {"404", "410", "429", "503", "502"}:
            return httpx.Response(int(fate), stream=httpx.ByteStream(b""))
        if fate == "503 later":
            return httpx.Response(503, headers={"Retry-After": "7"}, stream=httpx.ByteStream(b""))
        self.jobs += 1
        if fate == "ok, touched":
            os.utime(self.desk.artifact, ns=(1, 1))
            fate = "ok"
        answer = b'{"processing_id": "id-1"}' if fate == "ok" else fate.encode()
        return httpx.Response(200, stream=httpx.ByteStream(answer))


@pytest.fixture
def single(state: Path, tmp_path: Path, clock: FakeClock, told: Events) -> Desk:
    """A job that travels in the documented request."""
    desk = Desk(state, tmp_path / "artifact", clock, told, SINGLE)
    desk.prepare()
    return desk


@pytest.mark.parametrize(
    "fates", [["ok"], ["cut", "ok"], ["cut"] * 7 + ["ok"], ["429", "503 later", "early 502", "ok"]]
)
async def test_the_documented_call_is_repeated_while_no_job_can_exist(single: Desk, fates: list[str]) -> None:
    """Cut off, or answered, before its last byte, or told no: it goes again, and one job comes of it."""
    server = Documented(single, list(fates))
    _, processing_id = await single.run(server)
    assert processing_id == "id-1"
    assert server.jobs == 1
    assert set(server.states) == {JobState.SUBMITTING}  # durable before the last byte left


UNDECIDED = ("unanswered", "502", "503", "<html>Please log in</html>", '{"processing_id": "id', "{}")


@pytest.mark.parametrize("fate", UNDECIDED)
async def test_the_documented_call_is_not_repeated_when_a_job_may_exist(single: Desk, fate: str) -> None:
    """Sent whole and not answered as documented: a person decides, after this run and after the next."""
    server = Documented(single, [fate])
    with pytest.raises(AmbiguousUpload) as caught:
        await single.run(server)
    assert single.stored()[0] is JobState.AMBIGUOUS
    assert "--on-ambiguous retry" in str(caught.value.hint)


async def test_an_id_outlives_whatever_comes_after_the_answer(single: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies in the first thing it does after the reply has the paid job's id on its disk."""

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Manifest, "add_to_tally", die)
    with pytest.raises(Killed):
        await single.run(Documented(single, ["ok"]))
    assert single.stored()[0] is JobState.PROCESSING
    with Manifest(single.state) as manifest:
        assert manifest.job("id-1").id == JOB.id


async def test_a_recording_that_was_touched_meanwhile_loses_no_id(single: Desk) -> None:
    """The service has the job whatever became of the file: its id is kept and told."""
    _, processing_id = await single.run(Documented(single, ["ok, touched"]))
    assert processing_id == "id-1"
    assert single.stored()[0] is JobState.PROCESSING


@pytest.mark.parametrize("fate", ["404", "410"])
async def test_an_address_without_the_call_is_told_at_once(single: Desk, fate: str) -> None:
    """No night of repeats against a wrong address: the first answer ends it, and the hint says what to look at."""
    server = Documented(single, [fate])
    with pytest.raises(UploadRefused, match="no upload call there") as caught:
        await single.run(server)
    assert "SPEECHSTREAM_ENDPOINT" in str(caught.value.hint)
    assert single.stored()[0] is JobState.UPLOADING
    _, processing_id = await single.run(Documented(single, ["ok"]))
    assert processing_id == "id-1"


async def test_a_server_that_takes_nothing_is_waited_for(desk: Desk) -> None:
    """Between two appends that were called a success and kept nowhere there is a pause; what it takes then counts."""
    server = Server({1: "takes nothing", 3: "takes nothing"})
    state, _ = await desk.run(server)
    assert server.seen == ["POST", "PATCH", "HEAD", "PATCH", "HEAD", "PATCH", "PATCH"]
    assert len([seconds for seconds in desk.clock.slept_s if seconds > 0]) == 2
    assert state.lane.complete
    assert server.uploads == {"/v1/uploads/0": CONTENT}


async def test_a_kill_within_the_documented_call_is_remembered_as_such(single: Desk) -> None:
    """Whoever comes next finds that the last byte may have left."""
    with pytest.raises(Killed):
        await single.run(Documented(single, ["killed"]))
    assert single.stored()[0] is JobState.SUBMITTING
    with Manifest(single.state) as manifest:
        assert manifest.job(JOB.id).wire is WireName.SINGLE

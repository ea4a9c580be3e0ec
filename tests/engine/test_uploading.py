"""An artifact over several lanes, against a tus server in memory: joined once, whole, whatever breaks on the way."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from engine.core import plan as planning
from engine.core.retry import RetryPolicy
from engine.errors import KeyRejected
from engine.events import Uploaded, Warned
from engine.model import ArtifactRecord, JobState
from engine.runtime.artifact import ArtifactFile
from engine.runtime.crew import Crew
from engine.runtime.exchange import Exchanger
from engine.runtime.manifest import Manifest
from engine.runtime.persist import Persistence
from engine.runtime.supply import SEALED
from engine.runtime.turns import Turns
from engine.uploading import Manner, Uploading
from tests.engine.tus_server import Killed, TusServer, at, first
from tests.engine.world import JOB, Events, FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from engine.runtime.supply import Supply

pytestmark = pytest.mark.anyio
CONTENT = random.Random(7).randbytes(2_500_001)
LANES = 8


@dataclass
class Desk:
    """What stays on this machine between two runs of the program."""

    state: Path
    artifact: Path
    clock: FakeClock
    lanes: int = 4
    growing: bool = False
    told: Events = field(default_factory=Events)

    def prepare(self, content: bytes = CONTENT) -> None:
        """Bring the job to where its upload begins."""
        self.artifact.write_bytes(content)
        size_bytes = 0 if self.growing else len(content)
        record = ArtifactRecord("artifact", size_bytes, "audio/ogg", "talk.ogg", "standard", is_source=False)
        record = replace(record, growing=self.growing)
        with Manifest(self.state) as manifest:
            manifest.find_or_add(JOB, new=False)
            manifest.move(JOB.id, JobState.PREPARING)
            manifest.move(JOB.id, JobState.UPLOADING, artifact=record)

    async def run(self, server: TusServer, supply: Supply = SEALED) -> None:
        """One run of the program: everything it knows it reads from the manifest."""
        exchanger = Exchanger(self.clock, user_agent="test", transport=server)
        unused: Any = None
        try:
            with Manifest(self.state) as manifest:
                job = manifest.job(JOB.id)
                assert job.artifact is not None
                emit = self.told.append
                crew = Crew(manifest, exchanger, unused, self.clock, emit, RetryPolicy())
                uploading = Uploading(
                    job=job,
                    artifact=job.artifact,
                    base_url=JOB.endpoint,
                    manner=Manner(lanes=self.lanes),
                    crew=crew,
                    turns=Turns(manifest, self.clock, emit, "account"),
                    persistence=Persistence(JOB.id, self.clock, exchanger.brake, emit, RetryPolicy()),
                    open_artifact=lambda: ArtifactFile(self.artifact, len(self.artifact.read_bytes())),
                    supply=supply,
                )
                assert await uploading.carry() is None
        finally:
            await exchanger.aclose()

    async def run_until_done(self, server: TusServer) -> int:
        """Run again after every kill; returns how many runs it took."""
        for runs in range(1, 100):
            try:
                await self.run(server)
            except Killed:
                continue
            return runs
        raise AssertionError("it never came to an end")

    def url(self) -> str:
        """The path of the whole upload, as the manifest has it."""
        with Manifest(self.state) as manifest:
            job = manifest.job(JOB.id)
            url = job.joined_url or manifest.lanes(job)[0].url
            assert url is not None
            return url.reveal()

    def warnings(self) -> list[str]:
        """What the user was warned of."""
        return [event.message for event in self.told if isinstance(event, Warned)]


@pytest.fixture(autouse=True)
def small_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and lanes of a size that tests can afford: eight lanes of three or four parts."""
    monkeypatch.setattr(planning, "PART_SIZE_BYTES", 100_000)
    monkeypatch.setattr(planning, "LEAST_LANE_BYTES", 300_000)


@pytest.fixture
def desk(state: Path, tmp_path: Path, clock: FakeClock) -> Desk:
    """A job whose upload is about to begin."""
    desk = Desk(state, tmp_path / "artifact", clock)
    desk.prepare()
    return desk


async def test_several_lanes_become_one_upload(desk: Desk) -> None:
    """Every byte goes once, four lanes at a time, and what is joined is the artifact."""
    server = TusServer()
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert server.uploads[desk.url()].content == CONTENT
    assert server.received_bytes == len(CONTENT)
    assert (server.seen.count("POST"), server.seen.count("JOIN"), server.busiest) == (LANES, 1, 4)
    shown = [event.acked_bytes for event in desk.told if isinstance(event, Uploaded)]
    assert shown == sorted(shown)
    assert shown[-1] == len(CONTENT)


@pytest.mark.parametrize("extensions", ["creation", "creation,termination,checksum"])
async def test_a_server_that_does_not_join_gets_one_lane(desk: Desk, extensions: str) -> None:
    """Nothing is asked of a server that it does not advertise."""
    server = TusServer(extensions=extensions)
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert (server.seen.count("POST"), server.seen.count("JOIN"), server.busiest) == (1, 0, 1)


async def test_one_lane_is_an_ordinary_upload(desk: Desk) -> None:
    """With `--lanes 1` nothing is partial and nothing is joined."""
    server, desk = TusServer(), replace(desk, lanes=1)
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert server.seen.count("JOIN") == 0


KINDS = ("POST", "PATCH", "JOIN", "HEAD")
BLOWS = ("unanswered", "cut", "500", "503", "423", "429")


@pytest.mark.parametrize("blow", BLOWS)
@pytest.mark.parametrize("kind", KINDS)
async def test_one_blow_to_any_kind_of_request_costs_little(desk: Desk, kind: str, blow: str) -> None:
    """The upload is whole, and nothing but what was in flight goes again."""
    server = TusServer(strike=first(kind, blow))
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT
    assert server.received_bytes <= len(CONTENT) + 400_000


@pytest.mark.parametrize("number", range(24))
async def test_killed_after_any_request_it_goes_on(desk: Desk, number: int) -> None:
    """The next run makes no lane twice that had a URL, and sends at most again what four lanes had in flight."""
    server = TusServer(strike=at(number, "killed"))
    assert await desk.run_until_done(server) <= 2
    assert server.uploads[desk.url()].content == CONTENT
    assert server.finals == [CONTENT]


async def test_killed_after_every_request_it_still_ends(desk: Desk) -> None:
    """A run that gets one answer is a run that gets further."""
    server = TusServer(strike=lambda number, _: "killed" if number % 6 == 5 else None)
    assert await desk.run_until_done(server) < 30
    assert server.uploads[desk.url()].content == CONTENT


async def test_a_join_whose_answer_was_lost_is_repeated_under_its_key(desk: Desk) -> None:
    """A server that knows keys makes one upload of it."""
    server = TusServer(strike=first("JOIN", "unanswered", times=3))
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert server.received_bytes == len(CONTENT)


async def test_a_server_that_drops_lanes_with_a_lost_join_gets_everything_again(desk: Desk) -> None:
    """Where neither key nor lanes outlive a lost answer, the file is sent again, and is right."""
    server = TusServer(keys=False, forgets=True, strike=first("JOIN", "unanswered"))
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT
    assert server.received_bytes == 2 * len(CONTENT)
    assert any("did not join" in warning for warning in desk.warnings())


async def test_killed_between_join_and_commit_nothing_goes_again(desk: Desk) -> None:
    """The lanes are complete by the manifest: the join is repeated first, and nobody asks for lanes that are gone."""
    server = TusServer(forgets=True, strike=first("JOIN", "killed"))
    assert await desk.run_until_done(server) == 2
    assert server.finals == [CONTENT]
    assert server.received_bytes == len(CONTENT)


async def test_a_server_that_never_joins_gets_one_lane_at_last(desk: Desk) -> None:
    """What is advertised and refused is given up after three times, told, and the upload comes to its end."""
    server = TusServer(strike=lambda _, kind: "400" if kind == "JOIN" else None)
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT
    assert server.seen.count("JOIN") == 3
    assert any("in one" in warning for warning in desk.warnings())


async def test_a_lost_joined_upload_is_joined_again_without_a_byte(desk: Desk) -> None:
    """Asked for the joined upload the server says 404: its lanes are still there, so they are joined anew."""
    server = TusServer()

    def strike(_: int, kind: str) -> str | None:
        if kind == "HEAD" and server.seen.count("JOIN") == 1 and server.seen.count("HEAD") == 1:
            return "404"
        return None

    server.strike = strike
    await desk.run(server)
    assert server.seen.count("JOIN") == 2
    assert server.received_bytes == len(CONTENT)
    assert server.uploads[desk.url()].content == CONTENT


async def test_a_refused_key_ends_all_lanes_with_one_error(desk: Desk) -> None:
    """The error is the one that a single lane raises, and all that was acknowledged is kept for the next run."""
    server = TusServer(strike=lambda number, kind: "401" if kind == "PATCH" and number > 6 else None)
    with pytest.raises(KeyRejected):
        await desk.run(server)
    server.strike = lambda _, __: None
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert server.received_bytes == len(CONTENT)


async def test_a_lane_that_is_gone_takes_only_itself_along(desk: Desk) -> None:
    """One of eight resources vanished between two runs: its bytes go again, nobody else's."""
    server = TusServer(strike=first("JOIN", "killed"))
    with pytest.raises(Killed):
        await desk.run(server)
    lane = next(name for name, upload in server.uploads.items() if upload.partial)
    size = len(server.uploads.pop(lane).content)
    server.keys = False
    await desk.run(server)
    assert server.received_bytes == len(CONTENT) + size
    assert server.uploads[desk.url()].content == CONTENT

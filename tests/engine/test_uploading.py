"""An artifact over several lanes, against a tus server in memory: joined once, whole, whatever breaks on the way."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from engine import uploading as uploads
from engine.core import plan as planning
from engine.errors import KeyRejected
from engine.events import Uploaded
from engine.runtime.manifest import Manifest
from engine.runtime.supply import Growth
from engine.runtime.workforce import Workforce
from tests.engine.desk import CONTENT, Desk
from tests.engine.tus_server import JOINING_AHEAD, Killed, TusServer, at, first
from tests.engine.world import JOB

if TYPE_CHECKING:
    from pathlib import Path

    from engine.model import Lane
    from tests.engine.world import FakeClock

pytestmark = pytest.mark.anyio
LANES = 8


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
    """With `--max-lanes 1` nothing is partial and nothing is joined."""
    server, desk = TusServer(), replace(desk, lanes=1)
    await desk.run(server)
    assert server.finals == [CONTENT]
    assert server.seen.count("JOIN") == 0


async def test_an_append_costs_one_commit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last one brought is committed with the offer of the next: on some disks a commit takes 20 ms."""
    saved: list[Lane] = []
    save = Manifest.save_lane

    def count(manifest: Manifest, job_id: str, lane: Lane, *rest: Any) -> None:
        saved.append(lane)
        save(manifest, job_id, lane, *rest)

    monkeypatch.setattr(Manifest, "save_lane", count)
    server, desk = TusServer(), replace(desk, lanes=1)
    desk.prepare(random.Random(1).randbytes(30_000_000))
    await desk.run(server)
    assert server.seen.count("PATCH") >= 3
    assert len(saved) == server.seen.count("PATCH") + 1
    assert saved[-1].complete
    for before, after in pairwise(saved):
        assert (after.acked_bytes, after.acked_bytes <= after.offered_bytes) == (before.offered_bytes, True)


async def test_a_worker_that_is_wanted_back_leaves_nothing_uncommitted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes the lane up later, maybe after a kill, finds what it brought."""
    server, desk = TusServer(), replace(desk, lanes=1)
    desk.prepare(random.Random(1).randbytes(16_000_000))
    seen: list[tuple[int, int]] = []
    asked = iter((True, True))  # by the lane, and by its worker

    def wants_back(*_: object) -> bool:
        return server.received_bytes > 0 and next(asked, False)

    monkeypatch.setattr(Workforce, "wants_back", wants_back)

    def strike(_: int, kind: str) -> str | None:
        if kind == "HEAD":
            with Manifest(desk.state) as manifest:
                known = sum(lane.acked_bytes for lane in manifest.lanes(manifest.job(JOB.id)))
            seen.append((known, server.received_bytes))
        return None

    server.strike = strike
    await desk.run(server)
    assert seen
    assert seen[0][0] == seen[0][1] > 0
    assert server.uploads[desk.url()].complete


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


@pytest.mark.parametrize("number", range(0, 24, 3))
async def test_killed_after_any_request_it_goes_on(desk: Desk, number: int) -> None:
    """The next run makes no lane twice that had a URL, and sends at most again what four lanes had in flight."""
    server = TusServer(strike=at(number, "killed"))
    assert await desk.run_until_done(server) <= 2
    assert server.uploads[desk.url()].content == CONTENT
    assert server.finals == [CONTENT]


@pytest.mark.parametrize("seed", range(5))
async def test_killed_again_and_again_it_still_ends(desk: Desk, seed: int) -> None:
    """Every sixth request or so is the last of its run."""
    chance = random.Random(seed)
    server = TusServer(strike=lambda _, __: "killed" if chance.random() < 1 / 6 else None)
    await desk.run_until_done(server)
    assert server.received_bytes <= 2 * len(CONTENT)
    assert server.uploads[desk.url()].content == CONTENT


async def test_lanes_are_joined_while_their_last_bytes_are_under_way(desk: Desk) -> None:
    """A server that can is asked before the last append is answered, once, and makes one upload."""
    server = TusServer(extensions=JOINING_AHEAD)
    arrived: list[int] = []

    def strike(_: int, kind: str) -> str | None:
        if kind == "JOIN":
            arrived.append(server.received_bytes)
        return None

    server.strike = strike
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT
    assert (server.finals, server.received_bytes) == ([CONTENT], len(CONTENT))
    assert len(arrived) == 1
    assert arrived[0] < len(CONTENT)
    assert desk.warnings() == []


@pytest.mark.parametrize("blow", BLOWS)
async def test_a_join_ahead_that_fails_is_asked_again_in_its_time(desk: Desk, blow: str) -> None:
    """Nothing is sent again for it."""
    server = TusServer(extensions=JOINING_AHEAD, strike=first("JOIN", blow))
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT
    assert server.received_bytes == len(CONTENT)


@pytest.mark.parametrize("blow", ["cut", "unanswered", "500"])
@pytest.mark.parametrize("number", range(1, 12))
async def test_what_breaks_after_the_join_is_made_good(desk: Desk, number: int, blow: str) -> None:
    """Lanes that go on, are cut otherwise, or are asked where they stand: what is joined in the end is the artifact."""
    joined: list[int] = []

    def strike(seen: int, kind: str) -> str | None:
        if kind == "JOIN":
            joined.append(seen)
        return blow if joined and seen == joined[0] + number else None

    server = TusServer(extensions=JOINING_AHEAD, strike=strike)
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT


@pytest.mark.parametrize("lost", [0, 5, LANES - 1])
async def test_a_lane_that_is_lost_after_the_join_is_joined_anew(desk: Desk, lost: int) -> None:
    """The first join named a resource that will never be complete."""
    server = TusServer(extensions=JOINING_AHEAD)

    def strike(_: int, kind: str) -> str | None:
        if kind == "JOIN" and server.seen.count("JOIN") == 1:
            del server.uploads[f"/v1/uploads/{lost + 1}"]
        return None

    server.strike = strike
    await desk.run(server)
    assert server.uploads[desk.url()].content == CONTENT


@pytest.mark.parametrize("number", range(12))
async def test_killed_after_the_join_it_goes_on(desk: Desk, number: int) -> None:
    """The next run asks for the joined upload first: it may be whole. If not, what is joined in the end is."""
    joined: list[int] = []

    def strike(seen: int, kind: str) -> str | None:
        if kind == "JOIN":
            joined.append(seen)
        return "killed" if joined and seen == joined[0] + number else None

    server = TusServer(extensions=JOINING_AHEAD, strike=strike)
    assert await desk.run_until_done(server) <= 2
    assert server.uploads[desk.url()].content == CONTENT
    assert server.received_bytes <= len(CONTENT) + 400_000
    assert desk.warnings() == []


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


@pytest.fixture
def growing(state: Path, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A job whose artifact is still being written; lanes of unknown length are of a size that tests can afford."""
    monkeypatch.setattr(planning, "OPEN_PART_SIZE_BYTES", 100_000)
    monkeypatch.setattr(uploads, "OPEN_PART_SIZE_BYTES", 100_000)
    desk = Desk(state, tmp_path / "artifact", clock, growing=True)
    desk.prepare(b"")
    return desk


async def grow(
    desk: Desk, growth: Growth, pieces: int = 13, stop: int = len(CONTENT), *, start: int = 0, ends: bool = True
) -> None:
    """Write the artifact from `start` to `stop` in so many pieces, then end it."""
    size = -(-(stop - start) // pieces)
    for each in range(start, stop, size):
        with desk.artifact.open("ab") as file:
            file.write(CONTENT[each : min(each + size, stop)])
        growth.reached(min(each + size, stop))
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    if ends:
        growth.end()


@pytest.mark.parametrize("lanes", [1, 4])
async def test_what_grows_is_sent_while_it_grows(growing: Desk, lanes: int) -> None:
    """With one open lane or with several, every byte goes once, the first before the last is written."""
    desk, server = replace(growing, lanes=lanes), TusServer()
    growth = Growth(desk.clock)
    early = anyio.Event()

    def strike(_: int, kind: str) -> None:
        if kind == "PATCH":
            early.set()

    async def grow_while_sending() -> None:
        await grow(desk, growth, stop=len(CONTENT) // 2, ends=False)
        with anyio.fail_after(10):
            await early.wait()
        await grow(desk, growth, start=len(CONTENT) // 2)

    server.strike = strike
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grow_while_sending)
        await desk.run(server, growth)
    assert server.uploads[desk.url()].content == CONTENT
    assert server.uploads[desk.url()].complete
    assert server.received_bytes == len(CONTENT)
    assert server.finals == [CONTENT]


@pytest.mark.parametrize("stop", [1, 99_999, 100_000, 100_001, 400_000, 400_001, 600_000])
async def test_wherever_it_ends_lanes_have_the_right_length(growing: Desk, stop: int) -> None:
    """Ends within a lane, at its edge, and in the first lane that is twice as long."""
    server, growth = TusServer(), Growth(growing.clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grow, growing, growth, 3, stop)
        await growing.run(server, growth)
    assert server.finals == [CONTENT[:stop]]
    assert all(upload.complete for upload in server.uploads.values())


@pytest.mark.parametrize("extensions", ["creation", "creation,concatenation"])
async def test_a_server_without_deferred_lengths_gets_it_when_it_has_ended(growing: Desk, extensions: str) -> None:
    """Nothing is created before the length is known."""
    server, growth = TusServer(extensions=extensions), Growth(growing.clock)
    lengths: list[bool] = []

    def strike(_: int, kind: str) -> None:
        if kind == "POST":
            lengths.append(growth.ended)

    server.strike = strike
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grow, growing, growth)
        await growing.run(server, growth)
    assert set(lengths) == {True}
    assert server.finals == [CONTENT]


@pytest.mark.parametrize("number", range(0, 30, 3))
async def test_killed_while_it_grew_it_goes_on_with_what_there_is(growing: Desk, number: int) -> None:
    """The next run finds the artifact ended where the kill left it, and sends only what is missing."""
    server, growth = TusServer(strike=at(number, "killed")), Growth(growing.clock)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(grow, growing, growth)
            await growing.run(server, growth)
    except* Killed:
        ended = Growth(growing.clock, stop=growing.artifact.stat().st_size)
        ended.end()
        await growing.run(server, ended)
    there = growing.artifact.read_bytes()
    assert server.uploads[growing.url()].content == there
    assert server.received_bytes <= len(there) + 400_000


@pytest.mark.parametrize("blow", BLOWS)
@pytest.mark.parametrize("number", range(2, 14, 2))
async def test_a_blow_while_it_grows_costs_little(growing: Desk, number: int, blow: str) -> None:
    """A length that was told and whose answer was lost is not told twice."""
    server, growth = TusServer(strike=at(number, blow)), Growth(growing.clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grow, growing, growth)
        await growing.run(server, growth)
    assert server.uploads[growing.url()].content == CONTENT
    assert server.received_bytes <= len(CONTENT) + 400_000

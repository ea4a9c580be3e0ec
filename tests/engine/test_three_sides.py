"""Manifest, disk and server disagree about an upload: each way has its row in docs/design.md, and its words."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from engine.core import plan as planning
from engine.errors import KeyRejected, SpeechStreamError
from engine.runtime.manifest import Manifest
from tests.engine.desk import Desk
from tests.engine.house import CONTENT, PATCH, SUBMIT, House
from tests.engine.tus_server import TusServer, first
from tests.faults.recording import write_wav
from tests.faults.scripted import TEXT, Asked, reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.faults.scripted import Stored

    Scenario: TypeAlias = Callable[[House, pytest.MonkeyPatch], Awaitable[list[str]]]

pytestmark = pytest.mark.anyio
PAGE = (Path(__file__).parents[2] / "docs" / "design.md").read_text()
LONG = CONTENT * 50


async def half_sent(house: House) -> Stored:
    """One append was acknowledged, the next one refused for its key; the upload as the service has it."""
    house.recording.write_bytes(LONG)
    appends = iter(range(100))
    house.service.replying = lambda asked: reply(401) if asked.route == PATCH and next(appends) else None
    with pytest.raises(KeyRejected):
        await house.transcribe()
    house.service.replying = lambda _: None
    (upload,) = house.service.uploads.values()
    assert 0 < len(upload.content) < len(LONG) // 2
    return upload


async def ended(house: House) -> list[str]:
    """The next run comes to the right end; what it warned of."""
    house.told.clear()
    assert await house.transcribe() == TEXT
    assert list(house.service.jobs.values()) == [house.recording.read_bytes()]
    return house.warnings()


async def refused(house: House) -> list[str]:
    """The next run ends before anything is sent; its words."""
    house.service.requests.clear()
    with pytest.raises(SpeechStreamError) as caught:
        await house.transcribe()
    assert house.service.requests == []
    return [caught.value.message]


async def server_ahead_of_the_manifest(house: House, _: pytest.MonkeyPatch) -> list[str]:
    upload = await half_sent(house)
    with Manifest(house.state) as manifest:
        (lane,) = manifest.lanes(house.job())
    assert lane.offered_bytes > len(upload.content)
    upload.content[:] = LONG[: lane.offered_bytes]
    return await ended(house)


async def server_behind(house: House, _: pytest.MonkeyPatch) -> list[str]:
    upload = await half_sent(house)
    del upload.content[-1000:]
    return await ended(house)


async def server_ahead(house: House, _: pytest.MonkeyPatch) -> list[str]:
    upload = await half_sent(house)
    upload.content[:] = LONG[:-1]
    return await ended(house)


async def server_of_another_length(house: House, _: pytest.MonkeyPatch) -> list[str]:
    upload = await half_sent(house)
    upload.length_bytes += 1
    return await ended(house)


async def server_lost_it(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await half_sent(house)
    house.service.uploads.clear()
    return await ended(house)


async def server_lost_it_whole(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await house.stopped_by_401(SUBMIT)
    house.service.uploads.clear()
    said = await ended(house)
    assert house.service.requests[0] == SUBMIT
    return said


async def server_contradicts_itself(house: House, _: pytest.MonkeyPatch) -> list[str]:
    times = iter([True])

    def incomplete(asked: Asked) -> bytes | None:
        return reply(409, {"Upload-Offset": "7"}) if asked.route == SUBMIT and next(times, False) else None

    house.service.replying = incomplete
    return await ended(house)


async def server_has_other_bytes(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await house.stopped_by_401(SUBMIT)
    (upload,) = house.service.uploads.values()
    upload.content[1000] ^= 1
    return await ended(house)


async def recording_changed(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await half_sent(house)
    house.replace_recording()
    return await ended(house)


async def recording_shrank(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await half_sent(house)
    os.truncate(house.recording, 1000)
    return await refused(house)


async def manifest_lacks_digests(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await half_sent(house)
    with Manifest(house.state) as manifest, manifest._transaction() as db:
        assert db.execute("DELETE FROM part").rowcount > 0
    return await ended(house)


async def manifest_without_its_key(house: House, _: pytest.MonkeyPatch) -> list[str]:
    await half_sent(house)
    (house.state / "seal.key").write_bytes(b"A" * 43 + b"=")
    return await refused(house)


async def prepared(house: House) -> Path:
    """The prepared artifact of a job whose first append was acknowledged and whose second one was refused."""
    write_wav(house.recording, 10_000_000, seed=1)
    appends = iter(range(100))
    house.service.replying = lambda asked: reply(401) if asked.route == PATCH and next(appends) else None
    async with house.client(recipe="lossless") as client:
        with pytest.raises(KeyRejected):
            await client.transcribe(house.recording)
    house.service.replying = lambda _: None
    artifact = house.job().artifact
    assert artifact is not None
    return house.state / "jobs" / house.job().id / "spool" / artifact.path


async def artifact_ended(house: House, whole: bytes) -> list[str]:
    house.told.clear()
    async with house.client(recipe="lossless") as client:
        assert (await client.transcribe(house.recording)).text == TEXT
    assert list(house.service.jobs.values()) == [whole]
    return house.warnings()


async def artifact_gone(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    path = await prepared(house)
    whole = path.read_bytes()
    os.truncate(path, 1000)
    return await artifact_ended(house, whole)


async def artifact_damaged(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(planning, "PART_SIZE_BYTES", 10_000)
    path = await prepared(house)
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"fLaX")
    for upload in house.service.uploads.values():
        upload.content.clear()  # or nobody would ever look at those bytes again
    return [said for said in await artifact_ended(house, whole) if "acknowledged" not in said]


async def lanes_not_joined(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(planning, "PART_SIZE_BYTES", 100_000)
    monkeypatch.setattr(planning, "LEAST_LANE_BYTES", 300_000)
    desk = Desk(house.state, house.recording, house.clock)
    desk.prepare()
    await desk.run(TusServer(keys=False, forgets=True, strike=first("JOIN", "unanswered")))
    return [said for said in desk.warnings() if "no longer has the upload" not in said]


ELSEWHERE = {"server: has the joined upload no longer": "tests/faults/test_changed.py"}
SCENARIOS: dict[str, Scenario] = {
    "server: has more than the manifest knows, all of it was offered": server_ahead_of_the_manifest,
    "server: has less than it had acknowledged": server_behind,
    "server: has more than was ever offered": server_ahead,
    "server: has another length": server_of_another_length,
    "server: has it no longer": server_lost_it,
    "server: has it no longer, and all of it was offered": server_lost_it_whole,
    "server: will not join the lanes": lanes_not_joined,
    "server: calls the complete upload incomplete": server_contradicts_itself,
    "server: has other bytes, by the digests": server_has_other_bytes,
    "disk: the recording has other bytes, by the digests": recording_changed,
    "disk: the recording is shorter": recording_shrank,
    "disk: the artifact is gone, or shorter than sealed": artifact_gone,
    "disk: the artifact has other bytes, by its parts' digests or by the one it was sealed with": artifact_damaged,
    "manifest: lacks digests of bytes that were acknowledged": manifest_lacks_digests,
    "manifest: cannot open the upload's address": manifest_without_its_key,
}


def rows() -> dict[str, str]:
    """What is said, by who disagrees, as the page has it."""
    section = PAGE.partition("## Three sides")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {who.strip(): said.strip().strip("|").strip().strip("`") for who, _, said in cells[1:]}


def pattern(said: str) -> str:
    """The words of a row as they are really said: N is a number, … is anything."""
    return re.escape(said).replace(r"\ ", " ").replace("N", r"\d+").replace("…", ".+")


def test_every_row_has_its_scenario() -> None:
    """And every scenario its row."""
    assert set(rows()) == {*SCENARIOS, *ELSEWHERE}
    for who, where in ELSEWHERE.items():
        assert rows()[who] in (Path(__file__).parents[2] / where).read_text()


@pytest.mark.parametrize("who", SCENARIOS)
async def test_each_disagreement_has_its_own_words(house: House, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """The row's words are said and no others, and the job comes to the right end or to none."""
    said, wanted = await SCENARIOS[who](house, monkeypatch), rows()[who]
    assert len(said) == bool(wanted), said
    for words in said:
        assert re.fullmatch(pattern(wanted), words), words

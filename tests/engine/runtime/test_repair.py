"""A damaged manifest: what it is called, what can be saved of it, and that nothing of it is ever deleted."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.errors import SpeechStreamError, StateError
from engine.model import ArtifactRecord, JobState, Lane, Plan, Span, WireName
from engine.redaction import Secret
from engine.runtime.database import REPAIR, REPLACEMENT
from engine.runtime.manifest import Manifest
from engine.runtime.repair import repair
from tests.engine.world import JOB

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.model import JobRecord

ARTIFACT = ArtifactRecord("artifact.ogg", 3000, "audio/ogg", "interview.ogg", "standard", is_source=False)
PLAN = Plan(100, 3000, (Span(0, 1500), Span(1500, 3000)))
DIGESTS = {number: bytes([number]) * 16 for number in range(30)}
JOBS = 40
NOW = 1_000_000_000.0  # 2001-09-09T01:46:40Z
ASIDE = "manifest.db.damaged-20010909T014640Z"


def key(number: int) -> Secret:
    return Secret(f"https://speech.example/v1/uploads/{number:040}")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with many jobs, each with two lanes and thirty digests; every third is at the service."""
    folder = tmp_path_factory.mktemp("sound") / "state"
    with Manifest(folder) as manifest:
        for number in range(JOBS):
            identity = replace(JOB.identity, fingerprint=f"f{number}")
            job = replace(
                JOB,
                id=f"job{number:03}",
                idempotency_key=f"key-{number}",
                identity=identity,
                created_at=1000.0 + number,
            )
            manifest.find_or_add(job, new=False)
            manifest.move(job.id, JobState.PREPARING)
            manifest.move(job.id, JobState.UPLOADING, artifact=ARTIFACT, decision="speech needs no pixels " * 8)
            manifest.save_plan(job.id, PLAN, [Lane(0, PLAN.lanes[0]), Lane(1, PLAN.lanes[1])], WireName.TUS)
            lane = Lane(0, PLAN.lanes[0], created=True, url=key(number), acked_bytes=1400, offered_bytes=1500)
            manifest.save_lane(job.id, lane, DIGESTS)
            if number % 3 == 0:
                manifest.move(job.id, JobState.SUBMITTING)
                manifest.move(job.id, JobState.PROCESSING, processing_id=f"id-{number}")
    return folder


@pytest.fixture
def folder(sound: Path, state: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(sound, state)
    return state


def flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(4):
        content[rng.randrange(4096, len(content))] ^= rng.randrange(1, 256)


def smear(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(4096, len(content) - 600)
    content[start : start + 600] = rng.randbytes(600)


def scramble_page(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(1, len(content) // 4096) * 4096
    content[start : start + 4096] = rng.randbytes(4096)


def blank_page(content: bytearray, rng: random.Random) -> None:
    start = rng.randrange(1, len(content) // 4096) * 4096
    content[start : start + 4096] = bytes(4096)


def scramble_header(content: bytearray, rng: random.Random) -> None:
    content[:100] = rng.randbytes(100)


def scramble_first_page(content: bytearray, rng: random.Random) -> None:
    content[:4096] = rng.randbytes(4096)


def cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(4096, len(content)) :]


def records(folder: Path) -> dict[str, tuple[JobRecord, list[Lane]]]:
    """All there is, checked from the first page to the last."""
    with Manifest(folder) as manifest:
        manifest.check()
        return {job.id: (job, manifest.lanes(job)) for job in manifest.jobs()}


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 8))])
@pytest.mark.parametrize("damage", [flip, smear, scramble_page, blank_page, scramble_header, scramble_first_page, cut])
def test_whatever_is_damaged_the_rest_is_saved(
    sound: Path, folder: Path, damage: Callable[[bytearray, random.Random], None], seed: int
) -> None:
    """It opens again and is sound; what it has is what was there; the damaged file is kept as it was found."""
    content = bytearray((folder / "manifest.db").read_bytes())
    damage(content, random.Random(seed))
    (folder / "manifest.db").write_bytes(content)
    done = repair(folder, NOW)
    before, after = records(sound), records(folder)
    assert done.jobs == len(after)
    assert set(after) <= set(before) or damage is flip or damage is smear  # a flipped letter of an id is another id
    if done.aside is not None:
        assert done.aside.name == ASIDE
        assert done.aside.read_bytes() == bytes(content)
        assert len(after) == JOBS or done.lost
    if damage in {scramble_header, scramble_first_page}:
        assert (after, done.lost, done.parts) == (before, (), JOBS * len(DIGESTS))
    if damage in {scramble_page, blank_page}:
        assert len(after) >= JOBS // 2
    assert not (folder / REPLACEMENT).exists()
    assert [path for path in folder.iterdir() if path.name.startswith("repair-")] == []
    assert repair(folder, NOW + 60).aside is None


def test_a_damaged_page_is_named_with_the_way_out(folder: Path) -> None:
    """Whoever meets it first is told that it is damaged, and by which command what is left is saved."""
    content = bytearray((folder / "manifest.db").read_bytes())
    content[4096 : 4096 * 3] = bytes(4096 * 2)
    (folder / "manifest.db").write_bytes(content)
    with pytest.raises(StateError, match="is damaged") as caught, Manifest(folder) as manifest:
        manifest.jobs()
    assert REPAIR in (caught.value.hint or "")
    assert (folder / "manifest.db").read_bytes() == bytes(content)


def test_a_value_that_flipped_inside_its_row_is_told_and_left_out(folder: Path) -> None:
    """SQLite has no sum over its rows: what cannot be a job is told by its job, and the others are kept."""
    with Manifest(folder) as manifest, manifest._transaction() as db:
        db.execute("UPDATE job SET state = 'uplo`ding' WHERE id = 'job001'")
    with Manifest(folder) as manifest, pytest.raises(StateError, match="'job001' is damaged") as caught:
        manifest.job("job001")
    assert REPAIR in (caught.value.hint or "")
    done = repair(folder, NOW)
    assert (done.jobs, len(done.lost), "job001" in done.lost[0]) == (JOBS - 1, 1, True)
    assert "job001" not in records(folder)


def test_a_damaged_log_costs_at_most_what_was_in_it(sound: Path, folder: Path) -> None:
    """SQLite sums its log: from the first frame that does not hold, nothing is believed, and the rest stands."""
    with Manifest(folder) as manifest:
        manifest.move("job000", JobState.COMPLETED, transcription="what was said")
        manifest.move("job003", JobState.COMPLETED, transcription="what was said")
        log = bytearray((folder / "manifest.db-wal").read_bytes())
        (folder / "kept").write_bytes((folder / "manifest.db").read_bytes())
    log[len(log) - 2000] ^= 1
    (folder / "kept").replace(folder / "manifest.db")
    (folder / "manifest.db-wal").write_bytes(log)
    after = records(folder)
    assert after["job000"][0].state is JobState.COMPLETED
    assert after["job003"] == records(sound)["job003"]


def test_a_log_is_read_and_then_set_aside_with_its_manifest(sound: Path, folder: Path, tmp_path: Path) -> None:
    """What was committed last is only in the log: it is saved, and the log never meets the new manifest."""
    killed = tmp_path / "killed"
    with Manifest(folder) as manifest:
        manifest.move("job000", JobState.COMPLETED, transcription="what was said")
        shutil.copytree(folder, killed)
    content = bytearray((killed / "manifest.db").read_bytes())
    content[-4096:] = bytes(4096)
    (killed / "manifest.db").write_bytes(content)
    log = (killed / "manifest.db-wal").read_bytes()
    done = repair(killed, NOW)
    assert done.aside is not None
    assert Path(f"{done.aside}-wal").read_bytes() == log
    after, before = records(killed), records(sound)
    assert (after["job000"][0].state, after["job000"][0].transcription) == (JobState.COMPLETED, "what was said")
    assert {job_id: after[job_id] for job_id in after if job_id != "job000"}.items() <= before.items()


@pytest.mark.parametrize("damage", ["lost", "short", "another"])
def test_without_its_sealing_key_uploads_begin_anew(folder: Path, damage: str) -> None:
    """Told at once; after the repair every job is there, under its key, and only the addresses are gone."""
    path = folder / "seal.key"
    match damage:
        case "lost":
            path.unlink()
        case "short":
            path.write_bytes(b"short")
        case _:
            path.write_bytes(b"A" * 43 + b"=")
    with Manifest(folder) as manifest:
        with pytest.raises(StateError) as caught:
            manifest.check()
        assert REPAIR in (caught.value.hint or "")
        before = manifest.jobs()
    done = repair(folder, NOW)
    assert (done.jobs, len(done.lost)) == (JOBS, JOBS)
    with Manifest(folder) as manifest:
        manifest.check()
        assert [job.idempotency_key for job in manifest.jobs()] == [job.idempotency_key for job in before]
        assert manifest.digests("job001") == DIGESTS
        (lane, _) = manifest.lanes(manifest.job("job001"))
        assert (lane.created, lane.url, lane.acked_bytes, lane.span) == (False, None, 0, PLAN.lanes[0])
        manifest.save_lane("job001", replace(lane, created=True, url=key(1)))
        assert manifest.lanes(manifest.job("job001"))[0].url == key(1)
    assert (folder / f"seal.key.damaged-{ASIDE.rpartition('-')[2]}").exists() is (damage == "short")


def test_a_submission_whose_upload_cannot_be_named_uploads_again(folder: Path) -> None:
    """Its key is the same, so that the service still makes one job of it."""
    with Manifest(folder) as manifest:
        manifest.move("job001", JobState.SUBMITTING)
    (folder / "seal.key").unlink()
    repair(folder, NOW)
    assert records(folder)["job001"][0].state is JobState.UPLOADING


def test_lanes_that_are_not_all_there_are_planned_anew(folder: Path) -> None:
    """An upload with a hole in its plan must not look whole: plan and digests go, the job stays."""
    with Manifest(folder) as manifest, manifest._transaction() as db:
        db.execute("DELETE FROM lane WHERE job = 'job001' AND number = 0")
    done = repair(folder, NOW)
    assert ["job001" in sentence for sentence in done.lost] == [True]
    job, lanes = records(folder)["job001"]
    assert (job.state, job.plan, lanes) == (JobState.UPLOADING, None, [])


def test_nothing_is_repaired_under_another_process(folder: Path) -> None:
    """While anybody has the manifest open, it is left as it is; and nobody opens it meanwhile."""
    content = bytearray((folder / "manifest.db").read_bytes())
    content[-4096:] = bytes(4096)
    with Manifest(folder):
        (folder / "manifest.db").write_bytes(content)
        with pytest.raises(StateError, match="in use by another process"):
            repair(folder, NOW)
    assert (folder / "manifest.db").read_bytes() == bytes(content)
    assert repair(folder, NOW).aside is not None


def test_a_repair_that_was_cut_off_goes_on(folder: Path) -> None:
    """Killed when only the old files had been moved: nobody begins an empty manifest, and the next repair ends it."""
    (folder / "manifest.db").rename(folder / REPLACEMENT)
    (folder / "repair-killed").mkdir()
    (folder / "repair-killed" / "copy-0.db").write_bytes(b"a copy")
    with pytest.raises(StateError, match="cut off") as caught:
        Manifest(folder)
    assert REPAIR in (caught.value.hint or "")
    assert repair(folder, NOW).jobs == JOBS
    assert len(records(folder)) == JOBS
    assert not (folder / "repair-killed").exists()


def test_a_newer_manifest_is_not_repaired(folder: Path) -> None:
    """What this program does not know it does not touch, damaged or not."""
    with sqlite3.connect(folder / "manifest.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (folder / "manifest.db").read_bytes()
    with pytest.raises(StateError, match="newer speechstream"):
        repair(folder, NOW)
    assert (folder / "manifest.db").read_bytes() == before


def test_jobs_of_which_only_a_trace_is_left_are_named(folder: Path) -> None:
    """A row is unreadable, an index still has it: the id is told, and so is the service's, where there is one."""
    with sqlite3.connect(folder / "manifest.db", isolation_level=None) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job'").fetchone()[0]
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.close()
    content = bytearray((folder / "manifest.db").read_bytes())
    victim = next(
        page
        for page in range(root, pages)
        if content[page * 4096] == 13 and b"key-3" in content[page * 4096 : (page + 1) * 4096]  # a leaf of the table
    )
    content[victim * 4096 : (victim + 1) * 4096] = bytes(4096)
    (folder / "manifest.db").write_bytes(content)
    done = repair(folder, NOW)
    assert 0 < done.jobs < JOBS
    said = "\n".join(done.lost)
    lost = {f"job{number:03}" for number in range(JOBS)} - set(records(folder))
    assert lost
    for job_id in lost:
        assert job_id in said
        number = int(job_id[3:])
        assert (f"`speechstream wait id-{number}`" in said) is (number % 3 == 0)


def test_no_space_for_the_copies_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: told so, and the damaged manifest lies where it was."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    content = bytearray((folder / "manifest.db").read_bytes())
    content[-4096:] = bytes(4096)
    (folder / "manifest.db").write_bytes(content)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(SpeechStreamError, match="No space left"):
        repair(folder, NOW)
    assert (folder / "manifest.db").read_bytes() == bytes(content)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.db", "manifest.lock", "seal.key"]

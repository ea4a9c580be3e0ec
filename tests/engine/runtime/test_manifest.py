from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.job import FINAL
from engine.errors import InternalError, NoSuchJob, StateError
from engine.model import ArtifactRecord, Capabilities, JobKind, JobState, Lane, Plan, Span, Tally, WireName
from engine.redaction import Secret
from engine.runtime.manifest import Manifest
from tests.engine.world import JOB

ROOT = Path(__file__).resolve().parents[3]
URL = "https://speech.example/v1/uploads/7c9e6679f7425d40de944be07fc1f90ae7"
ARTIFACT = ArtifactRecord("artifact.ogg", 3000, "audio/ogg", "interview.ogg", "standard", is_source=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_can_read_the_folder(state: Path) -> None:
    """The folder is 0700, and every file in it 0600, whatever the umask: it holds upload addresses and transcripts."""
    before = os.umask(0)
    try:
        with Manifest(state) as manifest:
            manifest.find_or_add(JOB, new=False)
            manifest.save_lane(JOB.id, Lane(0, Span(0, 1), created=True, url=Secret(URL)))
            assert mode(manifest.job_folder(JOB.id)) == 0o700
            files = [path for path in state.iterdir() if path.is_file()]
            assert {path.name for path in files} >= {"manifest.db", "manifest.db-wal", "seal.key"}
            assert {path.name: mode(path) for path in files} == dict.fromkeys([path.name for path in files], 0o600)
    finally:
        os.umask(before)
    assert mode(state) == 0o700


def test_a_job_outlives_its_process(state: Path) -> None:
    """Everything that was committed is there again, field by field."""
    plan = Plan(1000, 3000, (Span(0, 2000), Span(2000, 3000)))
    lanes = [
        Lane(0, plan.lanes[0], created=True, url=Secret(URL), acked_bytes=500, offered_bytes=900, generation=1),
        Lane(1, plan.lanes[1]),
    ]
    with Manifest(state, now=lambda: 2000.0) as manifest:
        manifest.find_or_add(JOB, new=False)
        manifest.move(JOB.id, JobState.PREPARING)
        manifest.move(JOB.id, JobState.UPLOADING, artifact=ARTIFACT, decision="speech needs no pixels")
        manifest.save_plan(JOB.id, plan, lanes, WireName.TUS)
        manifest.save_lane(JOB.id, lanes[0], {0: b"0" * 16})
        manifest.add_to_tally(JOB.id, Tally(900, 1, 2.5, 3.5))
        manifest.add_to_tally(JOB.id, Tally(100, 1, 0.5, 0.5))
    with Manifest(state) as manifest:
        job = manifest.job(JOB.id)
        assert job == replace(
            JOB,
            state=JobState.UPLOADING,
            updated_at=2000.0,
            wire=WireName.TUS,
            decision="speech needs no pixels",
            artifact=ARTIFACT,
            plan=plan,
            tally=Tally(1000, 2, 3.0, 4.0),
        )
        assert manifest.lanes(job) == lanes
        assert manifest.digests(JOB.id) == {0: b"0" * 16}


def test_two_processes_see_each_others_commits(state: Path) -> None:
    """A step is known to others as soon as it is told to anyone."""
    with Manifest(state) as one, Manifest(state) as other:
        one.find_or_add(JOB, new=False)
        one.move(JOB.id, JobState.PREPARING)
        assert other.job(JOB.id).state is JobState.PREPARING
        other.move(JOB.id, JobState.CANCELLED)
        with pytest.raises(InternalError):
            one.move(JOB.id, JobState.UPLOADING)


def test_of_two_processes_that_add_a_recording_one_adds_it(state: Path) -> None:
    """One recording makes one job, however many commands were started on it."""
    with Manifest(state) as one, Manifest(state) as other:
        assert one.find_or_add(JOB, new=False) == (JOB, True)
        found, added = other.find_or_add(replace(JOB, id="zzzzzz", idempotency_key="other"), new=False)
        assert (found.id, added) == (JOB.id, False)


MOVED = replace(JOB, source="/elsewhere/renamed.mp4")
COPIED = replace(JOB, identity=replace(JOB.identity, device=9, inode=9))


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        (JOB, True),
        (MOVED, True),
        (COPIED, True),
        (replace(MOVED, identity=COPIED.identity), False),
        (replace(JOB, identity=replace(JOB.identity, mtime_ns=5)), False),
        (replace(JOB, identity=replace(JOB.identity, size_bytes=5)), False),
        (replace(JOB, identity=replace(JOB.identity, fingerprint="f2")), False),
        (replace(JOB, wish="lossless"), True),
        (replace(JOB, endpoint="https://other.example/v1"), False),
        (replace(JOB, kind=JobKind.DELIVERY), False),
    ],
    ids=["same", "moved", "restored", "both", "touched", "grown", "edited", "recipe", "endpoint", "kind"],
)
def test_what_counts_as_the_same_recording(manifest: Manifest, asked: type[object], same: bool) -> None:  # noqa: FBT001 - a column
    """Its content and time, under the same path or the same inode, for the same service; whatever the recipe."""
    manifest.find_or_add(JOB, new=False)
    found = manifest.find(asked)  # type: ignore[arg-type]  # the table's first column is a JobRecord
    assert (found is not None) is same


@pytest.mark.parametrize("state_", sorted({JobState.FAILED, JobState.CANCELLED}))
def test_a_job_that_came_to_nothing_does_not_stand_in_the_way(manifest: Manifest, state_: JobState) -> None:
    """After a failure or a cancellation the same command begins a new job."""
    manifest.find_or_add(JOB, new=False)
    manifest.move(JOB.id, state_)
    assert manifest.find(JOB) is None


@pytest.mark.parametrize(
    ("way", "beyond"),
    [
        ([], JobState.UPLOADING),
        ([JobState.PREPARING], JobState.PROCESSING),
        ([JobState.PREPARING, JobState.UPLOADING, JobState.PROCESSING], JobState.UPLOADING),
        ([JobState.CANCELLED], JobState.NEW),
    ],
)
def test_only_legal_moves_are_committed(manifest: Manifest, way: list[JobState], beyond: JobState) -> None:
    """A move that the table does not have changes nothing."""
    manifest.find_or_add(JOB, new=False)
    for step in way:
        manifest.move(JOB.id, step)
    before = manifest.job(JOB.id)
    with pytest.raises(InternalError, match="cannot go from"):
        manifest.move(JOB.id, beyond, processing_id="id-1")
    assert manifest.job(JOB.id) == before
    assert before.state not in FINAL or way == [JobState.CANCELLED]


def test_a_transaction_that_fails_leaves_nothing_behind(manifest: Manifest) -> None:
    """A lane and its digests are committed together or not at all, and the manifest goes on working."""
    manifest.find_or_add(JOB, new=False)
    with pytest.raises(StateError):
        manifest.save_lane(JOB.id, Lane(0, Span(0, 1)), {0: None})  # type: ignore[dict-item]  # what SQLite refuses
    assert manifest.lanes(JOB) == []
    manifest.save_lane(JOB.id, Lane(0, Span(0, 1)))
    assert manifest.lanes(JOB) == [Lane(0, Span(0, 1))]


@pytest.mark.parametrize("name", ["nobody", "", "'; DROP TABLE job; --", "\udcff"])
def test_an_unknown_name(manifest: Manifest, name: str) -> None:
    """Whatever was typed, it is a name that is not there."""
    with pytest.raises(NoSuchJob, match="There is no job"):
        manifest.job(name)


def test_a_job_is_found_by_processing_id(manifest: Manifest) -> None:
    """The service's name for it is as good as ours."""
    manifest.find_or_add(JOB, new=False)
    for step in (JobState.PREPARING, JobState.UPLOADING):
        manifest.move(JOB.id, step)
    manifest.move(JOB.id, JobState.PROCESSING, processing_id="id-1")
    assert manifest.job("id-1").id == JOB.id


def test_text_that_is_no_text_can_be_noted(manifest: Manifest) -> None:
    """A reason that quotes a file name of stray bytes must not cost the job its record."""
    manifest.find_or_add(JOB, new=False)
    job = manifest.note(JOB.id, failure="cannot read /recordings/\udcff.mp4")
    assert job.failure is not None
    assert job.failure.startswith("cannot read /recordings/")


def test_a_recording_may_have_any_name(manifest: Manifest) -> None:
    """Paths are bytes, and come back as they were."""
    manifest.find_or_add(replace(JOB, source="/recordings/\udcff.mp4"), new=False)
    assert manifest.jobs()[0].source == "/recordings/\udcff.mp4"


def test_a_newer_manifest_is_left_alone(state: Path) -> None:
    """What a later version wrote is neither read nor changed."""
    Manifest(state).close()
    with sqlite3.connect(state / "manifest.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (state / "manifest.db").read_bytes()
    with pytest.raises(StateError, match="newer speechstream") as caught:
        Manifest(state)
    assert caught.value.hint is not None
    assert (state / "manifest.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"this is not a database, but it is long enough to be taken for one" * 20])
def test_a_damaged_file_is_named(state: Path, content: bytes) -> None:
    """The error says which file, and is ours to raise."""
    state.mkdir()
    (state / "manifest.db").write_bytes(content)
    with pytest.raises(StateError, match=r"manifest\.db"):
        Manifest(state)


def test_damage_within_is_found(state: Path) -> None:
    """`doctor` reads every page."""
    with Manifest(state) as manifest:
        for number in range(200):
            job = replace(JOB, id=f"job{number}", idempotency_key=str(number), source=f"/r/{number}" + "x" * 500)
            manifest.find_or_add(job, new=True)
        manifest.check()
    size = (state / "manifest.db").stat().st_size
    with (state / "manifest.db").open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 4096)
    with Manifest(state) as manifest, pytest.raises(StateError):
        manifest.check()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in its place is told as what it is."""
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(StateError, match="state folder"):
        Manifest(tmp_path / "state")


def test_what_a_server_offers_is_remembered_for_an_hour(manifest: Manifest) -> None:
    """Then it is asked again, unless what it once said will do; and at once when it behaved otherwise."""
    offered = Capabilities(frozenset({"creation", "checksum"}), 1 << 40, ("sha1",), "https://h/files/")
    assert manifest.offers.find("https://h/files", 1000.0) is None
    manifest.offers.save("https://h/files", offered, 1000.0)
    assert manifest.offers.find("https://h/files", 4599.0) == offered
    assert manifest.offers.find("https://h/files", 4600.0) is None
    assert manifest.offers.find("https://h/files", 999.0) is None
    assert manifest.offers.find("https://h/files", 1e9, of_any_age=True) == offered
    manifest.offers.forget("https://h/files")
    assert manifest.offers.find("https://h/files", 1000.0, of_any_age=True) is None


def test_no_upload_address_rests_in_the_clear(state: Path) -> None:
    """No file of the folder holds one, not even the write-ahead log of an open manifest."""
    with Manifest(state) as manifest:
        manifest.find_or_add(JOB, new=False)
        for number in range(50):
            manifest.save_lane(JOB.id, Lane(number, Span(0, 1), created=True, url=Secret(URL)))
        manifest.note(JOB.id, result_url=Secret(URL))
        assert {lane.url for lane in manifest.lanes(JOB)} == {Secret(URL)}
        assert manifest.job(JOB.id).result_url == Secret(URL)
        contents = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    assert len(contents) >= 3
    assert not any(URL.rpartition("/")[2].encode() in content for content in contents)


def test_a_lost_key_is_told_and_hides_nothing_else(state: Path) -> None:
    """Without the key file the addresses are gone, and none is made in its place; the list of jobs still works."""
    with Manifest(state) as manifest:
        manifest.find_or_add(JOB, new=False)
        manifest.save_lane(JOB.id, Lane(0, Span(0, 1), created=True, url=Secret(URL)))
        manifest.note(JOB.id, result_url=Secret(URL))
    (state / "seal.key").unlink()
    with Manifest(state) as manifest:
        assert [job.id for job in manifest.jobs()] == [JOB.id]
        with pytest.raises(StateError, match=r"seal\.key is gone"):
            manifest.lanes(JOB)
    assert not (state / "seal.key").exists()


def test_whoever_comes_first_makes_the_key(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several jobs of one command begin at once, each with a thread that has the key ready: there is one key."""
    monkeypatch.setattr(os, "fsync", lambda _: time.sleep(0.02))
    with Manifest(state) as manifest:
        with ThreadPoolExecutor(8) as threads:
            made = [threads.submit(manifest.prepare_to_seal) for _ in range(8)]
        assert [each.result() for each in made] == [None] * 8
        key = (state / "seal.key").read_bytes()
        manifest.find_or_add(JOB, new=False)
        manifest.save_lane(JOB.id, Lane(0, Span(0, 1), created=True, url=Secret(URL)))
        assert manifest.lanes(JOB)[0].url == Secret(URL)
    assert (state / "seal.key").read_bytes() == key
    assert [path.name for path in state.glob("seal*")] == ["seal.key"]


def test_a_key_that_is_none_is_told(state: Path) -> None:
    """A truncated key file is a fault of the folder, not of the program."""
    with Manifest(state) as manifest:
        (state / "seal.key").write_bytes(b"short")
        manifest.find_or_add(JOB, new=False)
        with pytest.raises(StateError, match="sealing key"):
            manifest.save_lane(JOB.id, Lane(0, Span(0, 1), url=Secret(URL)))


@pytest.mark.parametrize("end", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_the_service_has_is_found_whatever_became_of_it(manifest: Manifest, end: JobState) -> None:
    """Its transcription is paid for: the same command must meet it again and not make a second one."""
    manifest.find_or_add(JOB, new=False)
    manifest.move(JOB.id, JobState.PREPARING)
    manifest.move(JOB.id, JobState.UPLOADING)
    manifest.move(JOB.id, JobState.PROCESSING, processing_id="id-1")
    manifest.move(JOB.id, end)
    found, added = manifest.find_or_add(replace(JOB, id="zzzzzz", idempotency_key="other"), new=False)
    assert (found.id, found.state, added) == (JOB.id, end, False)


def test_a_recording_on_a_file_system_that_uses_all_64_bits(manifest: Manifest) -> None:
    """Device and inode beyond SQLite's integers come back as they were, and a moved file is known by them."""
    job = replace(JOB, identity=replace(JOB.identity, device=2**64 - 1, inode=2**63))
    manifest.find_or_add(job, new=False)
    assert manifest.job(JOB.id).identity == job.identity
    assert manifest.find(replace(job, source="/elsewhere/renamed.mp4")) is not None
    other = replace(job, source="/elsewhere/copy.mp4", identity=replace(job.identity, inode=2**63 + 1))
    assert manifest.find(other) is None


@pytest.mark.parametrize(
    ("artifact", "path"),
    [(ARTIFACT, "artifact.ogg"), (replace(ARTIFACT, path=JOB.source, is_source=True), MOVED.source)],
    ids=["prepared", "as-is"],
)
def test_a_move_of_the_recording_undoes_nothing_of_its_owner(state: Path, artifact: ArtifactRecord, path: str) -> None:
    """What was prepared since the job was looked up survives; only an artifact that is the recording moves with it."""
    with Manifest(state) as owner, Manifest(state) as asker:
        owner.find_or_add(JOB, new=False)
        seen = asker.job(JOB.id)
        owner.move(JOB.id, JobState.PREPARING)
        owner.move(JOB.id, JobState.UPLOADING, artifact=artifact)
        moved = asker.relocate(seen, MOVED.source)
    assert (moved.source, moved.state) == (MOVED.source, JobState.UPLOADING)
    assert moved.artifact == replace(artifact, path=path)


def test_a_lost_artifact_takes_back_what_was_said_of_it(manifest: Manifest) -> None:
    """Plan, lanes, digests and wire were that artifact's; the key stays, so that no second job comes of the next."""
    plan = Plan(1000, 3000, (Span(0, 3000),))
    manifest.find_or_add(JOB, new=False)
    manifest.move(JOB.id, JobState.PREPARING)
    manifest.move(JOB.id, JobState.UPLOADING, artifact=ARTIFACT)
    manifest.save_plan(JOB.id, plan, [Lane(0, plan.lanes[0])], WireName.TUS)
    manifest.save_lane(JOB.id, Lane(0, plan.lanes[0], created=True, url=Secret(URL), acked_bytes=5), {0: b"0" * 16})
    job = manifest.prepare_again(JOB.id)
    assert (job.state, job.artifact, job.plan, job.wire) == (JobState.PREPARING, None, None, None)
    assert (manifest.lanes(job), manifest.digests(JOB.id)) == ([], {})
    assert job.idempotency_key == JOB.idempotency_key
    manifest.move(JOB.id, JobState.UPLOADING, artifact=ARTIFACT)
    manifest.move(JOB.id, JobState.SUBMITTING)
    with pytest.raises(InternalError, match="cannot be prepared again"):
        manifest.prepare_again(JOB.id)


OPENING = """
import pathlib, sys
from engine.runtime.manifest import Manifest
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    Manifest(pathlib.Path(sys.argv[1]) / str(number)).close()
"""


def test_six_processes_may_be_the_first(tmp_path: Path) -> None:
    """A batch of commands on a machine that never ran one: each opens the new manifest, and none finds it locked."""
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, tmp_path],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in crowd:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    complaints = [process.communicate(timeout=60)[1] for process in crowd]
    assert complaints == [""] * 6
    assert [process.returncode for process in crowd] == [0] * 6

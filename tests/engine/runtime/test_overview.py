from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.core.pacing import UPLOADS_PER_KEY
from engine.model import JobKind, JobState
from engine.runtime.manifest import Manifest
from tests.engine.crowd import ENDPOINT, populate
from tests.engine.world import JOB

if TYPE_CHECKING:
    from pathlib import Path

SPARE = {"SCAN job USING COVERING INDEX job_by_state", "SCAN job USING INDEX job_by_age"}  # counts, and `jobs --all`
SPARE |= {"SCAN job USING INDEX job_by_artifact", "SCAN number", "SCAN CONSTANT ROW"}  # read as far as is asked for


@pytest.fixture
def crowded(state: Path) -> Path:
    populate(state, 1000)
    return state


def test_the_newest_come_last_whatever_their_state(crowded: Path) -> None:
    """A list ends with what happened last, mixes the states by age, and is as long as was asked for."""
    with Manifest(crowded) as manifest:
        assert [job.id for job in manifest.overview.newest(limit=3)] == ["j003e6", "j003e7", "j003e8"]
        assert [job.id for job in manifest.overview.newest({JobState.PROCESSING}, 2)] == ["j003dd", "j003e7"]
        assert manifest.overview.newest() == list(manifest.overview.each()) == manifest.jobs()


def test_jobs_are_counted_by_state(crowded: Path) -> None:
    """Only states that some job is in are told."""
    with Manifest(crowded) as manifest:
        assert manifest.overview.counts() == {
            JobState.COMPLETED: 899,
            JobState.FAILED: 1,
            JobState.PROCESSING: 100,
        }


def test_what_is_to_be_resumed_comes_in_the_order_it_was_begun(crowded: Path) -> None:
    """Whatever its state: a resume begins with what has waited longest."""
    with Manifest(crowded) as manifest:
        manifest.find_or_add(JOB, new=True)
        ids = manifest.overview.unfinished()
    assert (ids[0], ids[1], len(ids)) == (JOB.id, "j00009", 101)


@pytest.mark.parametrize("change", ["name", "inode", "size", "time", "endpoint", "kind", "nothing"])
def test_a_file_is_known_by_its_directory_entry(state: Path, tmp_path: Path, change: str) -> None:
    """Without reading it, a file the service has is told only if name, inode, size and time are what they were."""
    file = tmp_path / "take.wav"
    file.write_bytes(b"sound")
    facts, name, endpoint, kind = file.stat(), str(file), JOB.endpoint, JOB.kind
    identity = replace(
        JOB.identity,
        device=facts.st_dev,
        inode=facts.st_ino + (change == "inode"),
        size_bytes=facts.st_size + (change == "size"),
        mtime_ns=facts.st_mtime_ns + (change == "time"),
    )
    name += "x" if change == "name" else ""
    endpoint += "x" if change == "endpoint" else ""
    kind = JobKind.DELIVERY if change == "kind" else kind
    with Manifest(state) as manifest:
        job, _ = manifest.find_or_add(replace(JOB, source=name, identity=identity), new=False)
        assert manifest.overview.taken(str(file), facts, JOB.kind, JOB.endpoint) is None, "nobody has taken it yet"
        for way in (JobState.PREPARING, JobState.UPLOADING, JobState.SUBMITTING, JobState.PROCESSING):
            job = manifest.move(job.id, way, **({"processing_id": "p1"} if way is JobState.PROCESSING else {}))
        found = manifest.overview.taken(str(file), facts, kind, endpoint)
    assert (found is not None) == (change == "nothing")


def test_no_question_reads_all_jobs(crowded: Path) -> None:
    """Every query that an upload or a listing makes is answered from an index; what SQLite plans is what it does."""
    said: dict[str, str] = {}
    with Manifest(crowded) as manifest:
        database = sqlite3.connect(crowded / "manifest.db")
        manifest._db.set_trace_callback(lambda sql: said.setdefault(" ".join(sql.split()), sql))
        job = manifest.jobs()[-1]
        everything(manifest, job.id)
        manifest._db.set_trace_callback(None)
    plans = {
        text: [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
        for text, sql in said.items()
        if not text.startswith(("BEGIN", "COMMIT", "--"))
    }
    database.close()
    scans = {text: plan for text, plan in plans.items() if any(s.startswith("SCAN") and s not in SPARE for s in plan)}
    assert scans == {}
    assert len(plans) > 20


def everything(manifest: Manifest, job_id: str) -> None:
    """Ask all that is asked of a manifest while recordings go through it."""
    job = manifest.job(job_id)
    for question in (manifest.find, manifest.unsubmitted, manifest.touched, manifest.outdated, manifest.lanes):
        question(job)
    manifest.digests(job_id)
    manifest.recent_costs(ENDPOINT, 5)
    manifest.recent_artifacts(5)
    overview = manifest.overview
    overview.newest(limit=50)
    overview.counts()
    overview.unfinished()
    overview.taken(job.source, os.stat_result(range(10)), job.kind, job.endpoint)
    slot, _ = manifest.slots.reserve("a key", UPLOADS_PER_KEY, 2e9)
    assert slot is not None
    manifest.slots.settle(slot, 2e9)
    manifest.slots.release(slot)
    manifest.find_or_add(replace(JOB, endpoint=ENDPOINT), new=False)
    manifest.move(JOB.id, JobState.PREPARING)
    manifest.offers.find(ENDPOINT, 2e9)

"""Makes the rows of a salvaged job such that the program can go on from them, and says what that costs."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import StateError
from ..model import JobState, Span, WireName
from .rows import job_of, readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ..model import JobRecord
    from .sealing import Seal

_UNDER_WAY = frozenset({JobState.UPLOADING, JobState.SUBMITTING})


def refit(db: sqlite3.Connection, row: sqlite3.Row, seal: Seal) -> list[str]:
    """Look at a job's rows, change what cannot be gone on from, and return what was lost in sentences.

    Without all of its lanes, or without their addresses, an upload begins anew: with the same key, so that it still
    makes one job.
    """
    job_id: str = row["id"]
    lanes = db.execute("SELECT * FROM lane WHERE job = ? ORDER BY start, number", (job_id,)).fetchall()
    try:
        with readable(job_id):
            job = job_of(row, tuple(Span(lane["start"], lane["stop"]) for lane in lanes), None)
    except StateError as error:
        db.execute("DELETE FROM job WHERE id = ?", (job_id,))
        return [f"{error.message}; it is left out"]
    closed = [name for name in ("result_url", "joined_url") if name in row.keys() and not _opens(seal, row[name])]  # noqa: SIM118 - a Row iterates over its values
    for name in closed:
        db.execute(f"UPDATE job SET {name} = NULL WHERE id = ?", (job_id,))  # noqa: S608 - our own column names
    lost = [f"the address that job {job_id} delivered to is lost"] if "result_url" in closed else []
    shut = [lane["number"] for lane in lanes if not _opens(seal, lane["url"])]
    db.executemany(
        "UPDATE lane SET created = 0, url = NULL, acked_bytes = 0, offered_bytes = 0 WHERE job = ? AND number = ?",
        [(job_id, number) for number in shut],
    )
    if job.state in _UNDER_WAY and job.plan is not None:
        whole = _tiled(lanes, 0 if job.artifact is None else job.artifact.size_bytes)
        if not whole or shut or "joined_url" in closed:
            lost.append(_begin_anew(db, job, whole=whole))
    elif shut or "joined_url" in closed:
        lost.append(f"addresses of job {job_id}'s upload cannot be opened; it is {job.state}, so nothing needs them")
    return lost


def _begin_anew(db: sqlite3.Connection, job: JobRecord, *, whole: bool) -> str:
    if not whole:
        for table in ("lane", "part"):
            db.execute(f"DELETE FROM {table} WHERE job = ?", (job.id,))  # noqa: S608 - our own table names
        db.execute("UPDATE job SET part_size_bytes = NULL WHERE id = ?", (job.id,))
    if job.wire is WireName.TUS:  # the single request has no address; what it may have made is a person's matter
        db.execute("UPDATE job SET state = ? WHERE id = ?", (str(JobState.UPLOADING), job.id))
    what = "addresses of its upload cannot be opened" if whole else "not all of its lanes are there"
    return f"job {job.id}: {what}, so bytes of it are sent again"


def _tiled(lanes: Sequence[sqlite3.Row], size_bytes: int) -> bool:
    """Whether the lanes are all there: none missing in the row, and the last one reaches the end."""
    if not lanes or lanes[0]["start"] != 0 or lanes[-1]["stop"] < size_bytes:
        return False
    return all(one["stop"] == other["start"] for one, other in pairwise(lanes))


def _opens(seal: Seal, sealed: bytes | None) -> bool:
    if sealed is None:
        return True
    try:
        seal.open(sealed)
    except StateError:
        return False
    return True

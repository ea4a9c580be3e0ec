"""The durable record of all jobs on this machine: one SQLite file that survives any kill.

    <state>/                    0700
      manifest.db               0600, WAL, synchronous=FULL: a committed step outlives a power cut
      seal.key                  0600, opens the upload addresses in the manifest
      jobs/<job id>/            the job's folder: its owner lock, its artifact, its live progress

Every method is one transaction and returns only when it is on disk. Several processes may use one manifest; who may
advance a job is settled by its owner lock, not here.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from ..core.job import may_move
from ..errors import InternalError, NoSuchJob, StateError
from ..model import JobState, Span, Tally
from .database import Database
from .offers import Offers
from .overview import Overview
from .rows import (
    artifact_of,
    changed_columns,
    identity_columns,
    job_columns,
    job_of,
    lane_of,
    lane_values,
    readable,
    storable,
)
from .sealing import Seal
from .slots import Slots

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from ..model import ArtifactRecord, JobRecord, Lane, Plan, SourceIdentity, WireName


class Manifest:
    """An open manifest. Not for sharing between threads.

    `overview` looks over all jobs, `slots` paces calls across processes, `offers` remembers what servers offer.

    Raises:
        StateError: the folder or the file cannot be used, or is a newer version's.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._now = now
        self._seal = Seal(folder)
        self._database = Database(folder)
        self._db = self._database.connection
        self._explained = self._database.explained
        self._transaction = self._database.transaction
        self.overview = Overview(self._database, lambda row: self._job(row, sealed=True))
        self.slots = Slots(self._database)
        self.offers = Offers(self._database)

    def close(self) -> None:
        """Close the file. What was committed stays."""
        self._database.close()

    def check(self) -> None:
        """Read the whole file and make sure that it is sound, and that every sealed address can be opened.

        Raises:
            StateError: it is damaged, or the sealing key is not the one that it was written with.
        """
        self._database.check()
        with self._explained():
            for row in self._db.execute("SELECT * FROM job"):
                self.lanes(self._job(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def job_folder(self, job_id: str) -> Path:
        """The folder of one job, made if need be (0700)."""
        path = self.folder / "jobs" / job_id
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"The job's folder {path} cannot be made: {error.strerror or error}",
                hint="make room there, or make it writable, then run the same command again",
            ) from error
        return path

    def prepare_to_seal(self) -> None:
        """Have ready what seals addresses, while a server is asked for the first one; may be done in any thread.

        Raises:
            StateError: the sealing key cannot be written or read.
        """
        self._seal.prepare()

    def spool(self, job_id: str) -> Path:
        """Where a job's prepared artifact lies, if it does; nothing is made."""
        return self.folder / "jobs" / job_id / "spool"

    def job_folders(self) -> list[Path]:
        """The folders there are of jobs that are not at their end."""
        try:
            with os.scandir(self.folder / "jobs") as entries:
                return [self.folder / "jobs" / entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []

    # -- jobs ----------------------------------------------------------------------------------

    def find(self, job: JobRecord) -> JobRecord | None:
        """The job that this recording already has.

        The same recording: same kind and endpoint; same size, time of change and fingerprint; and the same
        path or the same inode, so that a moved file is still itself. A failed or cancelled job counts only where the
        service has it: another one would be paid for again.
        """
        identity = job.identity
        with self._explained():
            row = self._db.execute(
                """SELECT * FROM job WHERE size_bytes = ? AND mtime_ns = ? AND endpoint = ? AND kind = ?
                   AND fingerprint = ? AND (source = ? OR (device = ? AND inode = ?))
                   AND (processing_id IS NOT NULL OR state NOT IN ('failed', 'cancelled'))
                   ORDER BY created_at DESC LIMIT 1""",
                (identity.size_bytes, identity.mtime_ns, job.endpoint, job.kind, identity.fingerprint,
                 os.fsencode(job.source), str(identity.device), str(identity.inode)),
            ).fetchone()  # fmt: skip
        return None if row is None else self._job(row)

    def find_or_add(self, job: JobRecord, *, new: bool) -> tuple[JobRecord, bool]:
        """The job this recording already has, or `job`, added; True when it was added. `new` always adds."""
        with self._transaction():
            found = None if new else self.find(job)
            if found is not None:
                return found, False
            self._insert(job)
        return job, True

    def relocate(self, job: JobRecord, source: str) -> JobRecord:
        """The recording was moved: remember where it is now."""
        changes: dict[str, object] = {"source": os.fsencode(source)}
        with self._transaction():
            artifact = self.job(job.id).artifact  # as it is now: the job's owner may be ahead of who asks
            if artifact is not None and artifact.is_source:
                changes["artifact"] = replace(artifact, path=source)
            self._update(job.id, changed_columns(changes, self._seal))
        return self.job(job.id)

    def prepare_again(self, job_id: str) -> JobRecord:
        """The prepared artifact is lost: back to where there was none, and nothing of it is on a server."""
        with self._transaction():
            job = self.job(job_id)
            if not may_move(job.state, JobState.PREPARING):
                raise InternalError(f"job {job_id} cannot be prepared again from {job.state}")
            used = self._db.execute("SELECT MAX(generation) + 1 FROM lane WHERE job = ?", (job_id,)).fetchone()[0]
            for table in ("lane", "part"):
                self._db.execute(f"DELETE FROM {table} WHERE job = ?", (job_id,))  # noqa: S608 - ours
            forgotten = dict.fromkeys(("artifact", "part_size_bytes", "wire", "joined_url"))
            count = max(job.join_count, used or 0)  # no key of a lane that was may be met again
            self._update(job_id, {"state": str(JobState.PREPARING), "join_count": count, **forgotten})
        return self.job(job_id)

    def unsubmitted(self, job: JobRecord) -> JobRecord | None:
        """The newest job of the same path, kind and endpoint of which the service cannot have made anything yet."""
        with self._explained():
            row = self._db.execute(
                """SELECT * FROM job WHERE source = ? AND endpoint = ? AND kind = ?
                   AND state IN ('new', 'preparing', 'uploading') ORDER BY created_at DESC LIMIT 1""",
                (os.fsencode(job.source), job.endpoint, job.kind),
            ).fetchone()
        return None if row is None else self._job(row)

    def touched(self, job: JobRecord) -> JobRecord | None:
        """The newest job that the service may have of the same recording but for its time of change."""
        identity = job.identity
        with self._explained():
            row = self._db.execute(
                """SELECT * FROM job WHERE size_bytes = ? AND mtime_ns <> ? AND endpoint = ? AND kind = ?
                   AND fingerprint = ? AND (source = ? OR (device = ? AND inode = ?))
                   AND (processing_id IS NOT NULL OR state IN ('submitting', 'ambiguous', 'completed'))
                   ORDER BY created_at DESC LIMIT 1""",
                (identity.size_bytes, identity.mtime_ns, job.endpoint, job.kind, identity.fingerprint,
                 os.fsencode(job.source), str(identity.device), str(identity.inode)),
            ).fetchone()  # fmt: skip
        return None if row is None else self._job(row)

    def reidentify(self, job_id: str, identity: SourceIdentity) -> JobRecord:
        """The recording is another one now: remember which."""
        with self._transaction():
            self._update(job_id, identity_columns(identity))
        return self.job(job_id)

    def revise(
        self, job_id: str, identity: SourceIdentity, lanes: Iterable[Lane] | None, forgotten: Iterable[int] = ()
    ) -> JobRecord:
        """The recording that is sent as it is has changed: its lanes, and the parts whose digests no longer hold.

        Without lanes it will be planned anew.
        """
        with self._transaction():
            job = self.job(job_id)
            if job.artifact is None or not job.artifact.is_source:
                raise InternalError(f"job {job_id} does not send its recording as it is")
            artifact = replace(job.artifact, size_bytes=identity.size_bytes)
            changes = {"artifact": artifact, "joined_url": None, "join_count": self._unused_count(job)}
            if lanes is None:
                changes["part_size_bytes"] = None
                for table in ("lane", "part"):
                    self._db.execute(f"DELETE FROM {table} WHERE job = ?", (job_id,))  # noqa: S608 - ours
            for lane in lanes or ():
                self._put_lane(job_id, lane)
            rows = [(job_id, number) for number in forgotten]
            self._db.executemany("DELETE FROM part WHERE job = ? AND number = ?", rows)
            self._update(job_id, {**changed_columns(changes, self._seal), **identity_columns(identity)})
        return self.job(job_id)

    def _unused_count(self, job: JobRecord) -> int:
        """A number that no join, and no generation of a lane, of this job has had: keys must never be met again."""
        used = self._db.execute("SELECT MAX(generation) FROM lane WHERE job = ?", (job.id,)).fetchone()[0]
        return max(job.join_count, used or 0) + 1

    def outdated(self, job: JobRecord) -> list[str]:
        """Unfinished jobs of the same path whose recording was another one then."""
        now = job.identity
        with self._explained():
            rows = self._db.execute(
                """SELECT id FROM job WHERE source = ? AND endpoint = ? AND kind = ? AND id <> ?
                   AND (fingerprint <> ? OR mtime_ns <> ?) AND state NOT IN ('completed', 'failed', 'cancelled')""",
                (os.fsencode(job.source), job.endpoint, job.kind, job.id, now.fingerprint, now.mtime_ns),
            ).fetchall()  # fmt: skip
        return [row["id"] for row in rows]

    def job(self, name: str) -> JobRecord:
        """The job with this id or processing_id.

        Raises:
            NoSuchJob: there is none.
        """
        with self._explained():
            row = self._db.execute(
                "SELECT * FROM job WHERE id = ? OR processing_id = ? ORDER BY created_at DESC", (storable(name),) * 2
            ).fetchone()
        if row is None:
            raise NoSuchJob(f"There is no job {name!r} in {self.folder}", hint="`speechstream jobs` lists them")
        return self._job(row)

    def jobs(self) -> list[JobRecord]:
        """All jobs, oldest first, without opening any sealed address."""
        return list(self.overview.each())

    def recent_costs(self, endpoint: str, count: int) -> list[Tally]:
        """What the last uploads to a service have cost, the newest first."""
        with self._explained():
            rows = self._db.execute(
                """SELECT sent_bytes, retries, waited_s, sending_s FROM job
                   WHERE endpoint = ? AND uploaded_at IS NOT NULL
                   ORDER BY uploaded_at DESC LIMIT ?""",
                (endpoint, count),
            ).fetchall()
        return [Tally(*row) for row in rows]

    def recent_artifacts(self, count: int) -> list[ArtifactRecord]:
        """What was last made of recordings, the newest first."""
        with self._explained():
            rows = self._db.execute(
                "SELECT id, artifact FROM job WHERE artifact IS NOT NULL ORDER BY created_at DESC LIMIT ?", (count,)
            ).fetchall()
        return [artifact_of(row) for row in rows]

    def move(self, job_id: str, state: JobState, **changes: object) -> JobRecord:
        """Commit one legal move of the job together with what was learnt.

        Raises:
            InternalError: the move is not in `core.job.MOVES`.
        """
        with self._transaction():
            job = self.job(job_id)
            if not may_move(job.state, state):
                raise InternalError(f"job {job_id} cannot go from {job.state} to {state}")
            self._update(job_id, {"state": str(state), **changed_columns(changes, self._seal)})
        return self.job(job_id)

    def note(self, job_id: str, **changes: object) -> JobRecord:
        """Commit facts that move no state."""
        with self._transaction():
            self._update(job_id, changed_columns(changes, self._seal))
        return self.job(job_id)

    def limit_bytes_s(self, job_id: str) -> int | None:
        """The job's own limit, in bytes a second: what is looked at once a second while it is sent."""
        with self._explained():
            row = self._db.execute("SELECT limit_bytes_s FROM job WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else row["limit_bytes_s"]

    def add_to_tally(self, job_id: str, more: Tally) -> None:
        """Add what a stretch of the transfer cost."""
        with self._transaction():
            self._put_cost(job_id, more)

    # -- lanes and parts -----------------------------------------------------------------------

    def lanes(self, job: JobRecord) -> list[Lane]:
        """The job's lanes, in the artifact's order."""
        with self._explained():
            rows = self._db.execute("SELECT * FROM lane WHERE job = ? ORDER BY start, number", (job.id,)).fetchall()
        with readable(job.id):
            return [lane_of(row, self._seal) for row in rows]

    def save_lane(
        self, job_id: str, lane: Lane, digests: Mapping[int, bytes] | None = None, cost: Tally | None = None
    ) -> None:
        """Commit what is known of a lane, with the digests of parts that were sent and what sending them cost."""
        with self._transaction():
            self._put_lane(job_id, lane)
            if digests:
                self._put_digests(job_id, digests)
            if cost is not None:
                self._put_cost(job_id, cost)

    def divide_lane(self, job_id: str, index: int, stop: int, rest: Lane) -> None:
        """Commit that a lane ends at `stop` and that its `rest` is a lane of its own."""
        with self._transaction():
            self._db.execute("UPDATE lane SET stop = ? WHERE job = ? AND number = ?", (stop, job_id, index))
            self._put_lane(job_id, rest)

    def unite_lanes(self, job_id: str, lane: Lane, absorbed: Iterable[int]) -> None:
        """Commit that a lane takes the place of others behind it, none of which was begun."""
        with self._transaction():
            self._db.executemany(
                "DELETE FROM lane WHERE job = ? AND number = ?", [(job_id, number) for number in absorbed]
            )
            self._put_lane(job_id, lane)

    def save_plan(self, job_id: str, plan: Plan, lanes: list[Lane], wire: WireName) -> JobRecord:
        """Commit the plan and the wire: from here on neither changes for this upload."""
        with self._transaction():
            self._db.execute("DELETE FROM lane WHERE job = ?", (job_id,))
            self._update(job_id, {"part_size_bytes": plan.part_size_bytes, "wire": str(wire), "joined_url": None})
            for lane in lanes:
                self._put_lane(job_id, lane)
        return self.job(job_id)

    def begin_again(self, job_id: str, lanes: Iterable[Lane], parts: Iterable[int] = ()) -> JobRecord:
        """These lanes are worth nothing any more, nor are the digests of these parts: both are made anew."""
        with self._transaction():
            for lane in lanes:
                self._put_lane(job_id, replace(lane, created=False, deferred=False, acked_bytes=0, offered_bytes=0))
            self._db.executemany(
                "DELETE FROM part WHERE job = ? AND number = ?", [(job_id, number) for number in parts]
            )
            count = self.job(job_id).join_count + 1
            self._update(job_id, {"joined_url": None, "join_count": count})
        return self.job(job_id)

    def save_digests(self, job_id: str, digests: Mapping[int, bytes]) -> None:
        """Commit digests of parts, by index."""
        with self._transaction():
            self._put_digests(job_id, digests)

    def digests(self, job_id: str) -> dict[int, bytes]:
        """The known digests of parts, by index."""
        with self._explained():
            rows = self._db.execute("SELECT number, digest FROM part WHERE job = ?", (job_id,)).fetchall()
        return {row["number"]: row["digest"] for row in rows}

    # -- inside --------------------------------------------------------------------------------

    def _insert(self, job: JobRecord) -> None:
        columns = job_columns(job)
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._db.execute(f"INSERT INTO job ({names}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608 - ours

    def _update(self, job_id: str, columns: Mapping[str, object]) -> None:
        if columns:
            marks = ", ".join(f"{name} = ?" for name in columns)
            self._db.execute(
                f"UPDATE job SET {marks}, updated_at = ? WHERE id = ?",  # noqa: S608 - our own column names
                (*columns.values(), self._now(), job_id),
            )

    def _put_lane(self, job_id: str, lane: Lane) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO lane VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            lane_values(job_id, lane, self._seal),
        )

    def _put_digests(self, job_id: str, digests: Mapping[int, bytes]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO part VALUES (?, ?, ?)",
            [(job_id, number, digest) for number, digest in digests.items()],
        )

    def _put_cost(self, job_id: str, more: Tally) -> None:
        self._db.execute(
            """UPDATE job SET sent_bytes = sent_bytes + ?, retries = retries + ?, waited_s = waited_s + ?,
               sending_s = sending_s + ? WHERE id = ?""",
            (more.sent_bytes, more.retries, more.waited_s, more.sending_s, job_id),
        )

    def _job(self, row: sqlite3.Row, *, sealed: bool = False) -> JobRecord:
        lanes = "SELECT start, stop FROM lane WHERE job = ? ORDER BY start, number"
        spans = self._db.execute(lanes, (row["id"],)).fetchall()
        with readable(row["id"]):
            return job_of(row, tuple(Span(*span) for span in spans), None if sealed else self._seal)

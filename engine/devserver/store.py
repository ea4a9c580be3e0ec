"""What the service remembers: uploads, jobs and idempotency keys.

Calls block (a commit waits for the disk): call them in a thread.
"""

import sqlite3

from msgspec import Struct
from msgspec.structs import replace

from .database import Database, key_digest


class Upload(Struct, frozen=True, kw_only=True):
    """One upload as the database knows it; ``name`` is the hash of its id."""

    name: str
    account: str
    length: int | None
    metadata: str = ""
    kind: str = "plain"
    concat: bytes | None = None
    synced: int = 0
    suspect_from: int | None = None
    touched_at: float = 0.0
    gone_at: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every byte is here and on the disk."""
        return self.length is not None and self.synced == self.length and self.suspect_from is None


class Job(Struct, frozen=True, kw_only=True):
    """One recording on its way to a transcript."""

    id: str
    account: str
    upload: str | None
    filename: str
    size: int
    status: str = "processing"
    transcription: str | None = None
    message: str | None = None
    crashes: int = 0
    created_at: float = 0.0


class KeyReusedError(Exception):
    """An idempotency key came back with another recording."""


class TooManyError(Exception):
    """An account has as many uploads as it may have."""


_UPLOAD = "name, account, length, metadata, kind, concat, synced, suspect_from, touched_at, gone_at"
_JOB = "id, account, upload, filename, size, status, transcription, message, crashes, created_at"
_JOB_OF_UPLOAD = f"SELECT {_JOB} FROM jobs WHERE account = ? AND upload = ?"  # noqa: S608 - constant
_JOB_OF_KEY = (
    f"SELECT {_JOB} FROM jobs WHERE id = "  # noqa: S608 - constant
    "(SELECT job FROM idempotency WHERE account = ? AND key = ?)"
)
_UPLOAD_OF_CREATION = (
    f"SELECT {_UPLOAD} FROM uploads WHERE gone_at IS NULL "  # noqa: S608 - constant
    "AND name = (SELECT upload FROM creations WHERE request = ?)"
)
# Files of living uploads that are no job, nor part of one. A final one has a link to the file of each of its parts.
_UNSPENT = "SELECT name FROM uploads WHERE account = :account AND gone_at IS NULL AND NOT spent"
_FILES = f"SELECT (SELECT COUNT(*) FROM ({_UNSPENT})) + (SELECT COUNT(*) FROM members WHERE final IN ({_UNSPENT}))"  # noqa: S608 - constants
_SPEND = (
    "UPDATE uploads SET spent = 1 WHERE name = :upload OR name IN (SELECT partial FROM members WHERE final = :upload)"
)


def _too_many(db: sqlite3.Connection, account: str, files_max: int) -> bool:
    (files,) = db.execute(_FILES, {"account": account}).fetchone()
    return bool(files >= files_max)


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(**dict(row))


def _job(row: sqlite3.Row | None) -> Job | None:
    return None if row is None else Job(**dict(row))


class Store(Database):
    """The uploads, jobs and keys of one data folder."""

    def add_upload(
        self,
        upload: Upload,
        members: tuple[str, ...] = (),
        *,
        creation: tuple[str, bytes] | None = None,
        files_max: int | None = None,
    ) -> Upload:
        """Remember a new upload, and what a final one is made of; returns it with its time.

        When a living upload was already made by this creation (its request and the sealed id), that one is returned.

        Raises:
            TooManyError: The account already has so many files of uploads that are no job yet.
        """
        upload = replace(upload, touched_at=self._clock())
        with self._write() as db:
            if creation is not None and (earlier := db.execute(_UPLOAD_OF_CREATION, creation[:1]).fetchone()):
                return _upload(earlier)
            if files_max is not None and _too_many(db, upload.account, files_max):
                raise TooManyError
            db.execute(
                f"INSERT INTO uploads ({_UPLOAD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",  # noqa: S608 - constant
                (
                    upload.name,
                    upload.account,
                    upload.length,
                    upload.metadata,
                    upload.kind,
                    upload.concat,
                    upload.synced,
                    upload.suspect_from,
                    upload.touched_at,
                ),
            )
            db.executemany(
                "INSERT INTO members VALUES (?, ?, ?)",
                [(upload.name, position, partial) for position, partial in enumerate(members)],
            )
            if creation is not None:
                request, sealed = creation
                db.execute("INSERT OR REPLACE INTO creations VALUES (?, ?, ?)", (request, upload.name, sealed))
        return upload

    def has_too_many(self, account: str, files_max: int) -> bool:
        """Whether ``add_upload`` would raise ``TooManyError`` now."""
        with self._lock:
            return _too_many(self._db, account, files_max)

    def created(self, request: str) -> tuple[Upload, bytes] | None:
        """The living upload that an earlier creation made, and its sealed id."""
        row = self._one(_UPLOAD_OF_CREATION, request)
        if row is None:
            return None
        sealed = self._one("SELECT id FROM creations WHERE request = ?", request)
        return None if sealed is None else (_upload(row), sealed["id"])

    def upload(self, name: str) -> Upload | None:
        """Look an upload up by the hash of its id; one that is gone is still known."""
        row = self._one(f"SELECT {_UPLOAD} FROM uploads WHERE name = ?", name)  # noqa: S608 - constant
        return None if row is None else _upload(row)

    def members(self, final: str) -> list[Upload]:
        """The partial uploads of a final one, in order."""
        columns = ", ".join(f"uploads.{column}" for column in _UPLOAD.split(", "))
        query = (
            f"SELECT {columns} FROM members JOIN uploads ON uploads.name = members.partial "  # noqa: S608 - constant
            "WHERE members.final = ? ORDER BY members.position"
        )
        return [_upload(row) for row in self._all(query, final)]

    def set_length(self, name: str, length: int) -> None:
        """Settle a deferred length."""
        with self._write() as db:
            db.execute("UPDATE uploads SET length = ? WHERE name = ? AND length IS NULL", (length, name))

    def set_suspect(self, name: str, offset: int) -> None:
        """Say that bytes from ``offset`` on are not to be kept unless ``set_synced`` follows."""
        with self._write() as db:
            db.execute("UPDATE uploads SET suspect_from = ? WHERE name = ?", (offset, name))

    def set_synced(self, name: str, offset: int) -> float:
        """Say that the first ``offset`` bytes are proved and on the disk; returns the time noted."""
        now = self._clock()
        with self._write() as db:
            db.execute(
                "UPDATE uploads SET synced = ?, suspect_from = NULL, touched_at = ? WHERE name = ?",
                (offset, now, name),
            )
        return now

    def set_gone(self, name: str) -> None:
        """Say that an upload was terminated or has expired."""
        with self._write() as db:
            db.execute("UPDATE uploads SET gone_at = ? WHERE name = ?", (self._clock(), name))

    def forget_gone(self, before: float) -> None:
        """Forget uploads that were gone before a time, but those that a living final upload is made of."""
        with self._write() as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS forgotten (name TEXT PRIMARY KEY) STRICT")
            db.execute("DELETE FROM forgotten")
            db.execute("INSERT INTO forgotten SELECT name FROM uploads WHERE gone_at < ?", (before,))
            db.execute("DELETE FROM members WHERE final IN forgotten")
            db.execute("DELETE FROM forgotten WHERE name IN (SELECT partial FROM members)")
            db.execute("DELETE FROM creations WHERE upload IN forgotten")
            db.execute("DELETE FROM uploads WHERE name IN forgotten")

    def expired(self, unfinished_before: float, finished_before: float) -> list[Upload]:
        """Uploads not touched since those times."""
        done = "length IS NOT NULL AND synced = length AND suspect_from IS NULL"
        query = (
            f"SELECT {_UPLOAD} FROM uploads WHERE gone_at IS NULL "  # noqa: S608 - constants
            f"AND touched_at < CASE WHEN {done} THEN ? ELSE ? END"
        )
        return [_upload(row) for row in self._all(query, finished_before, unfinished_before)]

    def job(self, job_id: str) -> Job | None:
        """Look a job up by its processing_id."""
        return _job(self._one(f"SELECT {_JOB} FROM jobs WHERE id = ?", job_id))  # noqa: S608 - constant

    def job_of_upload(self, account: str, upload: str) -> Job | None:
        """The job an upload became, if it did."""
        return _job(self._one(_JOB_OF_UPLOAD, account, upload))

    def job_of_key(self, account: str, key: str) -> Job | None:
        """The job an idempotency key stands for, if it does."""
        return _job(self._one(_JOB_OF_KEY, account, key_digest(key)))

    def add_job(self, job: Job, key: str | None) -> Job:
        """Make a job unless its upload or its key already has one; returns the job that counts.

        Raises:
            KeyReusedError: The key stands for a job of another recording.
        """
        with self._write() as db:
            of_key = None if key is None else _job(db.execute(_JOB_OF_KEY, (job.account, key_digest(key))).fetchone())
            if of_key is not None and of_key.upload != job.upload:
                raise KeyReusedError
            of_upload = _job(db.execute(_JOB_OF_UPLOAD, (job.account, job.upload)).fetchone())
            chosen = of_key or of_upload
            if chosen is None:
                db.execute(
                    "INSERT INTO jobs (id, account, upload, filename, size, status, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (job.id, job.account, job.upload, job.filename, job.size, job.status, self._clock()),
                )
                db.execute(_SPEND, {"upload": job.upload})
                chosen = job
            if key is not None and of_key is None:
                db.execute("INSERT INTO idempotency VALUES (?, ?, ?)", (job.account, key_digest(key), chosen.id))
            return chosen

    def next_job(self) -> Job | None:
        """The oldest job that waits for its transcript."""
        query = f"SELECT {_JOB} FROM jobs WHERE status = 'processing' ORDER BY created_at, id LIMIT 1"  # noqa: S608 - constant
        return _job(self._one(query))

    def finish_job(self, job_id: str, *, transcription: str | None, message: str | None) -> None:
        """End a job: completed with a transcription, failed without one."""
        status = "failed" if transcription is None else "completed"
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET status = ?, transcription = ?, message = ? WHERE id = ?",
                (status, transcription, message, job_id),
            )

    def count_crash(self, job_id: str) -> int:
        """Note that the transcriber crashed on a job; returns how often it has."""
        with self._write() as db:
            db.execute("UPDATE jobs SET crashes = crashes + 1 WHERE id = ?", (job_id,))
            (crashes,) = db.execute("SELECT crashes FROM jobs WHERE id = ?", (job_id,)).fetchone()
            return int(crashes)

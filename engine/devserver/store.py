"""What the service remembers: uploads, jobs and idempotency keys, in SQLite.

Several server processes may share the file. Every change is one committed, synced transaction before
anyone hears of it. Calls block (a commit waits for the disk): call them in a thread.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import SetupError

_VERSION = 1
_BUSY_S = 30.0  # other processes hold the write lock for one small transaction at a time
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE uploads (
    name TEXT PRIMARY KEY,           -- hash of the id: the id itself is a capability and not kept
    account TEXT NOT NULL,
    length INTEGER,                  -- NULL while deferred
    metadata TEXT NOT NULL,          -- the Upload-Metadata header as it came
    kind TEXT NOT NULL CHECK (kind IN ('plain', 'partial', 'final')),
    concat BLOB,                     -- a final's Upload-Concat, sealed with the final's own id
    synced INTEGER NOT NULL,         -- bytes that are on the disk for certain
    suspect_from INTEGER,            -- bytes from here on are unproved and will be cut off
    touched_at REAL NOT NULL,
    gone_at REAL                     -- terminated or expired
) STRICT;
CREATE TABLE members (
    final TEXT NOT NULL REFERENCES uploads (name),
    position INTEGER NOT NULL,
    partial TEXT NOT NULL REFERENCES uploads (name),
    PRIMARY KEY (final, position)
) STRICT;
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    upload TEXT,                     -- NULL for a documented upload
    filename TEXT NOT NULL,
    size INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('processing', 'completed', 'failed')),
    transcription TEXT,
    message TEXT,
    crashes INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    UNIQUE (account, upload)
) STRICT;
CREATE INDEX jobs_waiting ON jobs (created_at) WHERE status = 'processing';
CREATE TABLE idempotency (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (account, key)
) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
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


_UPLOAD = "name, account, length, metadata, kind, concat, synced, suspect_from, touched_at, gone_at"
_JOB = "id, account, upload, filename, size, status, transcription, message, crashes, created_at"
_JOB_OF_UPLOAD = f"SELECT {_JOB} FROM jobs WHERE account = ? AND upload = ?"  # noqa: S608 - constant
_JOB_OF_KEY = (
    f"SELECT {_JOB} FROM jobs WHERE id = "  # noqa: S608 - constant
    "(SELECT job FROM idempotency WHERE account = ? AND key = ?)"
)


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(**dict(row))


def _job(row: sqlite3.Row | None) -> Job | None:
    return None if row is None else Job(**dict(row))


class Store:
    """The database of one data folder.

    Raises:
        SetupError: The file is not ours, is from a newer version, or cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate(path)
        except (sqlite3.Error, OSError) as error:
            raise SetupError(f"cannot use the database {path}: {error}") from error

    def _migrate(self, path: Path) -> None:
        with self._write() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise SetupError(f"{path} was written by a newer version of speechstream")
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")
            self._distrust_after_reboot(db)

    @staticmethod
    def _distrust_after_reboot(db: sqlite3.Connection) -> None:
        """After a machine's crash, file sizes may count bytes that never reached the disk.

        While the machine runs the page cache holds what was written, so a killed server's file size is true.
        """
        boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else "unknown"
        known = db.execute("SELECT value FROM about WHERE name = 'boot'").fetchone()
        if known is not None and known["value"] != boot:
            unfinished = "suspect_from IS NULL AND (length IS NULL OR synced < length)"
            db.execute(f"UPDATE uploads SET suspect_from = synced WHERE {unfinished}")  # noqa: S608 - constant
        db.execute("INSERT OR REPLACE INTO about VALUES ('boot', ?)", (boot,))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
            return row

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def add_upload(self, upload: Upload, members: tuple[str, ...] = ()) -> Upload:
        """Remember a new upload, and what a final one is made of; returns it with its time."""
        upload = replace(upload, touched_at=self._clock())
        with self._write() as db:
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
        return upload

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
        return _job(self._one(_JOB_OF_KEY, account, key))

    def add_job(self, job: Job, key: str | None) -> Job:
        """Make a job unless its upload or its key already has one; returns the job that counts.

        Raises:
            KeyReusedError: The key stands for a job of another recording.
        """
        with self._write() as db:
            of_key = None if key is None else _job(db.execute(_JOB_OF_KEY, (job.account, key)).fetchone())
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
                chosen = job
            if key is not None and of_key is None:
                db.execute("INSERT INTO idempotency VALUES (?, ?, ?)", (job.account, key, chosen.id))
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

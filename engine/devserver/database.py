"""The SQLite file of a data folder: its tables, their migrations, and one connection to it.

Several server processes may share the file. Every change is one committed, synced transaction before
anyone hears of it. Calls block (a commit waits for the disk): call them in a thread.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SetupError
from .writing import no_space

_BUSY_S = 30.0  # other processes hold the write lock for one small transaction at a time
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_MIGRATIONS = (
    """
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
    """,
    """
    CREATE TABLE creations (
        request TEXT PRIMARY KEY,        -- hash of account, Idempotency-Key and what was asked for
        upload TEXT NOT NULL REFERENCES uploads (name),
        id BLOB NOT NULL                 -- the upload's id, sealed with the Idempotency-Key
    ) STRICT;
    CREATE INDEX creations_of_upload ON creations (upload);
    CREATE INDEX members_of_partial ON members (partial);
    CREATE INDEX uploads_of_account ON uploads (account) WHERE gone_at IS NULL;
    CREATE INDEX uploads_gone ON uploads (gone_at) WHERE gone_at IS NOT NULL;
    UPDATE idempotency SET key = key_digest(key);
    """,
    """
    -- spent: it became a job, or part of one
    ALTER TABLE uploads ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;
    UPDATE uploads SET spent = 1 WHERE name IN (SELECT upload FROM jobs);
    UPDATE uploads SET spent = 1 WHERE name IN (SELECT partial FROM members JOIN jobs ON jobs.upload = members.final);
    DROP INDEX uploads_of_account;
    CREATE INDEX uploads_unspent ON uploads (account) WHERE gone_at IS NULL AND NOT spent;
    """,
)


def key_digest(key: str) -> str:
    """What is kept of an idempotency key: enough to know it again, not enough to open what it seals."""
    return hashlib.blake2b(key.encode(), digest_size=16, person=b"idempotency-key").hexdigest()


class Database:
    """One connection, used by one thread at a time.

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
            if version > len(_MIGRATIONS):
                raise SetupError(f"{path} was written by a newer version of speechstream")
            db.create_function("key_digest", 1, key_digest, deterministic=True)
            for migration in _MIGRATIONS[version:]:
                for statement in migration.split(";\n"):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
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
        """One transaction.

        Raises:
            Refusal: 507 when the disk is full; nothing was changed.
        """
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    raise no_space() from error
                raise

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
            return row

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

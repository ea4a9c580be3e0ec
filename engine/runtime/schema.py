"""The manifest's tables, one migration a version. A migration once shipped never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import StateError

if TYPE_CHECKING:
    import sqlite3

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE job (
        id              TEXT PRIMARY KEY,
        kind            TEXT NOT NULL,
        state           TEXT NOT NULL,
        source          BLOB NOT NULL,      -- absolute path, as the file system spells it
        device          TEXT NOT NULL,      -- decimal: some file systems use all 64 bits
        inode           TEXT NOT NULL,
        size_bytes      INTEGER NOT NULL,
        mtime_ns        INTEGER NOT NULL,
        fingerprint     TEXT NOT NULL,
        wish            TEXT NOT NULL,      -- the recipe asked for
        endpoint        TEXT NOT NULL,
        idempotency_key TEXT NOT NULL UNIQUE,
        created_at      REAL NOT NULL,
        updated_at      REAL NOT NULL,
        wire            TEXT,
        decision        TEXT,               -- why this recipe, in one line
        artifact        TEXT,               -- JSON: path (relative to the job's folder), size, media type, ...
        part_size_bytes INTEGER,
        processing_id   TEXT,
        transcription   TEXT,
        result_url      BLOB,               -- sealed
        failure         TEXT,
        sent_bytes      INTEGER NOT NULL DEFAULT 0,
        retries         INTEGER NOT NULL DEFAULT 0,
        waited_s        REAL NOT NULL DEFAULT 0,
        sending_s       REAL NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX job_by_source ON job (size_bytes, mtime_ns, endpoint);
    CREATE INDEX job_by_processing_id ON job (processing_id) WHERE processing_id IS NOT NULL;
    CREATE TABLE lane (
        job           TEXT NOT NULL REFERENCES job ON DELETE CASCADE,
        number        INTEGER NOT NULL,
        start         INTEGER NOT NULL,
        stop          INTEGER NOT NULL,
        created       INTEGER NOT NULL,
        url           BLOB,                 -- sealed; without its origin where that is the endpoint's
        acked_bytes   INTEGER NOT NULL,
        offered_bytes INTEGER NOT NULL,
        generation    INTEGER NOT NULL,
        expires_at    REAL,
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE part (
        job    TEXT NOT NULL REFERENCES job ON DELETE CASCADE,
        number INTEGER NOT NULL,
        digest BLOB NOT NULL,               -- xxh3-128, canonical (big-endian)
        PRIMARY KEY (job, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pace (
        id    INTEGER PRIMARY KEY,
        scope TEXT NOT NULL,                -- what is limited: a key's hash, a processing_id
        at    REAL NOT NULL                 -- epoch seconds of the reservation, then of the reply
    ) STRICT;
    CREATE INDEX pace_by_scope ON pace (scope, at);
    CREATE TABLE capability (
        creation_url TEXT PRIMARY KEY,
        found        TEXT NOT NULL,         -- JSON of what OPTIONS said
        at           REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE lane ADD COLUMN deferred INTEGER NOT NULL DEFAULT 0; -- the server does not know its length yet
    ALTER TABLE lane ADD COLUMN partial INTEGER NOT NULL DEFAULT 0;  -- made to be joined with others
    ALTER TABLE job ADD COLUMN joined_url BLOB;                      -- sealed; of the upload that joins the lanes
    ALTER TABLE job ADD COLUMN join_count INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE lane ADD COLUMN checked INTEGER NOT NULL DEFAULT 0;  -- the server compared all it acknowledged
    ALTER TABLE job ADD COLUMN proof TEXT;
    ALTER TABLE job ADD COLUMN uploaded_at REAL;
    ALTER TABLE job ADD COLUMN completed_at REAL;
    """,
    """
    ALTER TABLE job ADD COLUMN track TEXT;                           -- the audio track asked for
    ALTER TABLE job ADD COLUMN chosen TEXT;                          -- the recipe, where the choice was ours
    """,
    """
    ALTER TABLE job ADD COLUMN limit_bytes_s INTEGER;                -- its own limit; 0: none, whatever else is set
    """,
    """
    CREATE INDEX job_by_age ON job (created_at, id);
    CREATE INDEX job_by_state ON job (state, created_at, id);
    CREATE INDEX job_by_path ON job (source);
    CREATE INDEX job_by_fingerprint ON job (fingerprint);
    CREATE INDEX job_by_upload ON job (endpoint, uploaded_at) WHERE uploaded_at IS NOT NULL;
    CREATE INDEX job_by_artifact ON job (created_at) WHERE artifact IS NOT NULL;
    CREATE INDEX pace_by_time ON pace (at);
    """,
)
VERSION: Final = len(MIGRATIONS)


def require_known(connection: sqlite3.Connection, where: str) -> int:
    """The manifest's version, which is at most ours; it is only read.

    Raises:
        StateError: it was written by a newer version; nothing is touched.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StateError(
            f"The manifest {where} was written by a newer speechstream (format {version}, this is {VERSION})",
            hint="install the newer version again, or choose another folder with SPEECHSTREAM_STATE_DIR",
        )
    return version


def migrate(connection: sqlite3.Connection, where: str) -> None:
    """Bring the manifest to this version, all of it or nothing: a disk waits once, and no version is in between.

    Raises:
        StateError: it was written by a newer version; nothing is touched.
    """
    if require_known(connection, where) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in MIGRATIONS[require_known(connection, where) :]:  # another process may have been first
            for statement in statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def statements(script: str) -> list[str]:
    """The statements of a migration, without its comments."""
    lines = "\n".join(line.partition("--")[0] for line in script.splitlines())
    return [statement for statement in lines.split(";") if statement.strip()]

"""Makes a sound manifest of a damaged one. Nothing is deleted: what was there is set aside under another name.

The order makes a kill harmless: the new manifest is whole and on the disk under a name that stops everybody else
(`REPLACEMENT`) before the first of the old files is moved, and a repair that finds one goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..errors import OutputError, StateError
from .database import REPAIR, REPLACEMENT, told
from .ownership import alone
from .refit import refit
from .salvage import copied, read_rows
from .schema import migrate, require_known
from .sealing import KEY_FILE, Seal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .salvage import Row, Salvaged

_MANIFEST: Final = "manifest.db"
_SCRATCH: Final = "repair-"
_LOGS: Final = ("-wal", "-shm")
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Repair(Struct, frozen=True):
    """What became of the manifest.

    Attributes:
        jobs: how many jobs it has now.
        parts: how many digests of parts.
        lost: sentences on what could not be saved.
        aside: where the damaged file is now; None where there was nothing to repair.
    """

    jobs: int
    parts: int
    lost: tuple[str, ...] = ()
    aside: Path | None = None


def repair(folder: Path, now: float) -> Repair:
    """Repair the manifest in `folder` if it needs that; `now` in epoch seconds names what is set aside.

    Raises:
        StateError: another process uses it, a newer version wrote it, or the disk refuses; nothing was changed.
        OutputError: there is no space for the copies; nothing was changed.
    """
    path, replacement = folder / _MANIFEST, folder / REPLACEMENT
    try:
        with alone(folder), tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            for copies in folder.glob(f"{_SCRATCH}*"):
                if copies != Path(scratch):  # of a repair that was killed
                    shutil.rmtree(copies, ignore_errors=True)
            lost: tuple[str, ...] = ()
            if not replacement.exists():
                draft = Path(scratch) / _MANIFEST
                sound = _is_sound(copied(path, Path(scratch) / "whole.db"))
                found = read_rows(path, Path(scratch))
                lost = _write_draft(draft, found, Seal(folder), _folders(folder))
                if sound and not lost:
                    return Repair(*_counts(draft))
                _sync(draft)
                draft.replace(replacement)
                _sync(folder)
            jobs, parts = _counts(replacement)
            stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
            return Repair(jobs, parts, lost, _put_in_place(folder, stamp))
    except sqlite3.Error as error:
        raise told(error, path) from error
    except OSError as error:
        kind = OutputError if error.errno == errno.ENOSPC else StateError
        raise kind(
            f"The manifest in {folder} cannot be repaired: {error.strerror or error}",
            hint=f"nothing is lost; make room there, or make it writable, then `{REPAIR}` again",
        ) from error


def _is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with it."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            require_known(db, str(path))
            return bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except UnicodeDecodeError:  # SQLite's message quotes a damaged schema
        return False
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            raise
        return False


def _folders(folder: Path) -> set[str]:
    """Ids of the jobs that have a folder: those that were under way."""
    try:
        return {path.name for path in (folder / "jobs").iterdir()}
    except FileNotFoundError:
        return set()


def _write_draft(draft: Path, found: Salvaged, seal: Seal, folders: set[str]) -> tuple[str, ...]:
    """Make a manifest of the rows that were read; what had to be left out is returned in sentences."""
    draft.touch(mode=0o600)
    gone = {*found.lost_jobs, *folders} - {row["id"] for row in found.jobs}
    lost = [f"job {job_id} is lost; the same command as before makes a new one" for job_id in sorted(gone, key=str)]
    if not found.all_jobs:
        lost.append("some records of jobs could not be read; others may be lost whose names nobody knows any more")
    lost += [
        f"the service has a job whose record is lost: `speechstream wait {processing_id}` gets its transcript"
        for processing_id in found.processing_ids
    ]
    with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        migrate(db, str(draft))
        db.execute("BEGIN")
        for table, rows in (("job", found.jobs), ("lane", found.lanes), ("part", found.parts), ("pace", found.paces)):
            lost += _insert(db, table, rows)
        for row in db.execute("SELECT * FROM job").fetchall():
            lost += refit(db, row, seal)
        db.execute("COMMIT")
    return tuple(lost)


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[Row]) -> list[str]:
    columns = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}
    lost = []
    for row in rows:
        kept = {name: value for name, value in row.items() if name in columns}
        names, marks = ", ".join(kept), ", ".join("?" * len(kept))
        try:
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(kept.values()))  # noqa: S608 - ours
        except sqlite3.Error:
            lost.append(f"a row of the table {table} is lost: it holds what no such row can")
    return lost


def _counts(manifest: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(manifest, isolation_level=None)) as db:
        jobs, parts = (db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("job", "part"))  # noqa: S608 - ours
    return jobs, parts


def _put_in_place(folder: Path, stamp: str) -> Path:
    """Set the old files aside and let the replacement take their place. May be begun anew wherever it was cut off."""
    while (folder / f"{_MANIFEST}.damaged-{stamp}").exists():
        stamp += "+"
    aside = folder / f"{_MANIFEST}.damaged-{stamp}"
    for suffix in ("", *_LOGS):  # a log must never meet a manifest that is not its own
        with contextlib.suppress(FileNotFoundError):
            Path(f"{folder / _MANIFEST}{suffix}").rename(f"{aside}{suffix}")
    if not _is_key(folder):
        with contextlib.suppress(FileNotFoundError):
            (folder / KEY_FILE).rename(folder / f"{KEY_FILE}.damaged-{stamp}")
    _sync(folder)
    (folder / REPLACEMENT).rename(folder / _MANIFEST)
    _sync(folder)
    return aside


def _is_key(folder: Path) -> bool:
    """Whether the sealing key can be used at all; a missing one is made when it is needed."""
    try:
        Seal(folder).open(b"")
    except StateError as error:
        return not isinstance(error.__cause__, ValueError)
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

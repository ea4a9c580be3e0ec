"""Reads what can still be read of a damaged manifest, row by row.

Only copies are read. SQLite refuses a whole query at the first damaged page, so rows are asked for in both orders and
then one by one. Where the first page is the damaged one, a sound one of an empty manifest is put in its place: tables
lie where their first migration put them, in every manifest.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from .schema import MIGRATIONS, VERSION, statements

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, "str | int | float | bytes | None"]

REFUSALS: Final = (sqlite3.Error, ValueError)  # a key may be of any type now, and text, even SQLite's own, no text
_HEADER_BYTES: Final = 100  # sqlite.org/fileformat.html section 1.3
_PAGE_COUNT: Final = slice(28, 32)  # "size of the database file in pages", big-endian
_PROBED_BEYOND: Final = 2000  # rows asked for one by one, past the last one that could be read


class Salvaged(Struct):
    """Rows of each table as they were, and the ids of jobs that are known only to have been there.

    `processing_ids` are those of jobs whose rows are lost: the service has them all the same. `all_jobs` where
    none can be missing, `whole` where no question was refused at all.
    """

    jobs: list[Row] = field(default_factory=list)
    lanes: list[Row] = field(default_factory=list)
    parts: list[Row] = field(default_factory=list)
    paces: list[Row] = field(default_factory=list)
    lost_jobs: list[str] = field(default_factory=list)
    processing_ids: list[str] = field(default_factory=list)
    all_jobs: bool = False
    whole: bool = False


def read_rows(manifest: Path, scratch: Path) -> Salvaged:
    """What can be read of `manifest` and its log; `scratch` is a folder for copies, which are left there."""
    best = Salvaged()
    for number, mend in enumerate((None, _mend_header, _mend_first_page)):
        path = copied(manifest, scratch / f"copy-{number}.db")
        if mend is not None:
            mend(path)
        found = _read(path)
        if found.whole or len(found.jobs) > len(best.jobs):
            best = found
        if best.whole or best.jobs:
            break
    return best


def copied(manifest: Path, copy: Path) -> Path:
    """A copy of a manifest and of what its log holds beyond it."""
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{manifest}{suffix}", f"{copy}{suffix}")
    return copy


def _read(path: Path) -> Salvaged:
    found = Salvaged()
    with contextlib.suppress(*REFUSALS), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA cell_size_check = ON")
        reader = _Reader(db)
        found.jobs = reader.by_rowid("job")
        found.all_jobs = reader.whole
        found.paces = reader.by_rowid("pace")
        ids = {row["id"] for row in found.jobs}
        found.lost_jobs = sorted(reader.column("SELECT id FROM job INDEXED BY sqlite_autoindex_job_1") - ids)
        query = "SELECT processing_id FROM job INDEXED BY job_by_processing_id WHERE processing_id IS NOT NULL"
        found.processing_ids = sorted(reader.column(query) - {row["processing_id"] for row in found.jobs})
        for job_id in sorted(map(str, ids)):
            found.lanes += reader.of_job("lane", job_id)
            found.parts += reader.of_job("part", job_id)
        found.whole = reader.whole
    return found


class _Reader:
    """Asks a database for rows; `whole` until one could not be had."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.whole = True

    def by_rowid(self, table: str) -> list[Row]:
        """Rows of a table, from both ends and then each between."""
        query = f"SELECT rowid AS rowid_, * FROM {table}"  # noqa: S608 - our own table names
        found = self._from_both_ends(query, "rowid", "rowid_", ())
        if not self.whole:
            top = max([*found, *self.column(f"SELECT max(rowid) FROM {table}")], default=0)  # noqa: S608 - the same
            for rowid in range(1, top + _PROBED_BEYOND):
                if rowid not in found:
                    self._take(f"{query} WHERE rowid = ?", (rowid,), "rowid_", found)
        for row in found.values():
            del row["rowid_"]
        return [found[rowid] for rowid in sorted(found)]

    def of_job(self, table: str, job_id: str) -> list[Row]:
        """A job's rows of a table that is kept by job and number, from both ends and then each between."""
        query = f"SELECT * FROM {table} WHERE job = ?"  # noqa: S608 - our own table names
        before, self.whole = self.whole, True
        found = self._from_both_ends(query, "number", "number", (job_id,))
        if not self.whole:
            for number in range(max(found, default=0) + _PROBED_BEYOND):
                if number not in found:
                    self._take(f"{query} AND number = ?", (job_id, number), "number", found)
        self.whole &= before
        return [found[number] for number in sorted(found)]

    def column(self, query: str) -> set[Any]:
        """The values of a query with one column, as far as they can be read."""
        values = set()
        try:
            for row in self._db.execute(query):
                values.add(row[0])
        except REFUSALS:
            self.whole = False
        return values - {None}

    def _from_both_ends(self, query: str, order: str, key: str, values: tuple[str, ...]) -> dict[int, Row]:
        found: dict[int, Row] = {}
        for direction in ("ASC", "DESC"):
            self._take(f"{query} ORDER BY {order} {direction}", values, key, found)
        return found

    def _take(self, query: str, values: tuple[str | int, ...], key: str, found: dict[int, Row]) -> None:
        try:
            for row in self._db.execute(query, values):
                found[int(row[key])] = dict(row)
        except (*REFUSALS, TypeError):
            self.whole = False


def _mend_header(copy: Path) -> None:
    """Give the copy the header of a sound manifest; sizes and trees are its own."""
    sound = _empty_manifest(copy)
    with copy.open("r+b") as file:
        header = bytearray(sound[:_HEADER_BYTES])
        header[_PAGE_COUNT] = (copy.stat().st_size // _page_size(sound)).to_bytes(4, "big")
        file.write(header)


def _mend_first_page(copy: Path) -> None:
    """Give the copy the first page of a sound manifest: header, and where each table begins."""
    sound = _empty_manifest(copy)
    with copy.open("r+b") as file:
        page = bytearray(sound[: _page_size(sound)])
        page[_PAGE_COUNT] = (copy.stat().st_size // _page_size(sound)).to_bytes(4, "big")
        file.write(page)


def _empty_manifest(copy: Path) -> bytes:
    """One whose whole schema is on its first page: later indices, which nothing asks for, are left out."""
    first, *later = map(statements, MIGRATIONS)
    needed = [*first, *(sql for script in later for sql in script if "CREATE INDEX" not in sql)]
    path = copy.with_suffix(".empty")
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for sql in ("PRAGMA journal_mode = WAL", *needed, f"PRAGMA user_version = {VERSION}"):
            db.execute(sql)
    return path.read_bytes()


def _page_size(database: bytes) -> int:
    size = int.from_bytes(database[16:18], "big")
    return 65536 if size == 1 else size  # sqlite.org/fileformat.html section 1.3.2

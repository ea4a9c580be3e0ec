"""Looks over many jobs at once. Every question is answered from an index: it costs the same among 100,000 jobs."""

from __future__ import annotations

import heapq
import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..core.job import FINAL
from ..model import JobState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator

    from ..model import JobKind, JobRecord
    from .database import Database

_NEWEST: Final = "SELECT * FROM job WHERE state = ? ORDER BY created_at DESC, id DESC"


class Overview(Struct, frozen=True):
    """The jobs of a manifest as a list. `read` makes a record of a row, without opening any sealed address."""

    database: Database
    read: Callable[[sqlite3.Row], JobRecord]

    def newest(self, states: Collection[JobState] = (), limit: int | None = None) -> list[JobRecord]:
        """The newest jobs in any of `states` (all, where none is named), oldest first; so many at most."""
        wanted, bound = states or JobState, -1 if limit is None else limit
        with self.database.explained():
            rows = (self.database.connection.execute(f"{_NEWEST} LIMIT ?", (state, bound)) for state in wanted)
            merged = heapq.merge(*rows, key=lambda row: (row["created_at"], row["id"]), reverse=True)
            found = [self.read(row) for row in islice(merged, limit)]
        return found[::-1]

    def each(self) -> Iterator[JobRecord]:
        """All jobs, oldest first, one at a time."""
        with self.database.explained():
            for row in self.database.connection.execute("SELECT * FROM job ORDER BY created_at, id"):
                yield self.read(row)

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state that any is in."""
        with self.database.explained():
            rows = self.database.connection.execute("SELECT state, COUNT(*) FROM job GROUP BY state").fetchall()
        return {JobState(state): count for state, count in rows}

    def unfinished(self) -> list[str]:
        """The ids of all jobs that are not at their end, oldest first."""
        found: list[tuple[float, str]] = []
        with self.database.explained():
            for state in sorted(set(JobState) - FINAL):
                rows = self.database.connection.execute("SELECT created_at, id FROM job WHERE state = ?", (state,))
                found += [(row["created_at"], row["id"]) for row in rows]
        return [job_id for _, job_id in sorted(found)]

    def taken(self, source: str, facts: os.stat_result, kind: JobKind, endpoint: str) -> JobRecord | None:
        """The newest job of this very file, unchanged by all that its directory tells, that the service has.

        Not a byte is read. Name, inode, size and time of change have to agree, so nothing but a deliberate forgery is
        taken for what it is not; anything less is for `Manifest.find`, which knows the bytes.
        """
        with self.database.explained():
            row = self.database.connection.execute(
                """SELECT * FROM job WHERE source = ? AND device = ? AND inode = ? AND size_bytes = ? AND mtime_ns = ?
                   AND kind = ? AND endpoint = ? AND processing_id IS NOT NULL AND state IN ('processing', 'completed')
                   ORDER BY created_at DESC LIMIT 1""",
                (os.fsencode(source), str(facts.st_dev), str(facts.st_ino), facts.st_size, facts.st_mtime_ns,
                 kind, endpoint),
            ).fetchone()  # fmt: skip
        return None if row is None else self.read(row)

"""When calls may go that a service takes only so often: kept in the manifest, so that all processes share one count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from ..core.pacing import RateLimit
    from .database import Database

_KEPT_S: Final = 3600.0


class Slots(Struct, frozen=True):
    """A slot is one call, from when it was taken until its reply, and then for as long as the limit's window."""

    database: Database

    def reserve(self, scope: str, limit: RateLimit, now: float) -> tuple[int | None, float]:
        """Take a slot for one call: (slot, 0) when it may go now, else (None, seconds to wait)."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM pace WHERE at < ?", (now - _KEPT_S,))
            db.execute("UPDATE pace SET at = ? WHERE at > ?", (now, now))  # the clock was set back
            past = [row["at"] for row in db.execute("SELECT at FROM pace WHERE scope = ?", (scope,))]
            wait_s = limit.wait_s(past, now)
            if wait_s > 0:
                return None, wait_s
            slot = db.execute("INSERT INTO pace (scope, at) VALUES (?, ?)", (scope, now)).lastrowid
        return slot, 0.0

    def settle(self, slot: int, now: float) -> None:
        """The call was answered now: the limit counts from here."""
        with self.database.transaction() as db:
            db.execute("UPDATE pace SET at = ? WHERE id = ?", (now, slot))

    def release(self, slot: int) -> None:
        """The call never left this machine: its slot is free again."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM pace WHERE id = ?", (slot,))

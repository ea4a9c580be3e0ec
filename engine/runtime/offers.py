"""What servers offer, remembered in the manifest, so that a second upload need not ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import asdict

from ..model import Capabilities

if TYPE_CHECKING:
    from .database import Database

BELIEVED_FOR_S: Final = 3600.0


class Offers(Struct, frozen=True):
    """The answers to OPTIONS, by the address where uploads are made."""

    database: Database

    def find(self, creation_url: str, now: float, *, of_any_age: bool = False) -> Capabilities | None:
        """What the server said within the last hour, or ever; None when it has to be asked."""
        with self.database.explained():
            row = self.database.connection.execute(
                "SELECT * FROM capability WHERE creation_url = ?", (creation_url,)
            ).fetchone()
        if row is None or not (of_any_age or 0 <= now - row["at"] < BELIEVED_FOR_S):
            return None
        found = json.loads(row["found"])
        return Capabilities(
            frozenset(found["extensions"]),
            found["max_size_bytes"],
            tuple(found["checksum_algorithms"]),
            found["creation_url"],
        )  # fmt: skip

    def save(self, creation_url: str, found: Capabilities, now: float) -> None:
        """Remember what OPTIONS said."""
        value = {**asdict(found), "extensions": sorted(found.extensions)}
        with self.database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO capability VALUES (?, ?, ?)", (creation_url, json.dumps(value), now))

    def forget(self, creation_url: str) -> None:
        """Ask anew next time: the server did not behave as it had said."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM capability WHERE creation_url = ?", (creation_url,))

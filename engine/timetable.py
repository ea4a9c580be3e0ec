"""Which limit holds at which time of the week, by the clock on the user's wall. Pure: told what it shows.

An entry reads `[DAYS] HH:MM-HH:MM RATE`: `08:00-18:00 500kB/s`, `Mon-Fri 08:00-18:00 500kB/s`, `Sat,Sun 22:00-06:00
off`. Its end does not belong to it. One that ends at or before its beginning goes over midnight and belongs to the day
it begins on; `00:00-00:00` is the whole day. Of several that hold, the first does.

The wall clock alone decides. So when it is put forward, an entry of the hour that is left out never holds, and one that
had begun in it begins after; when it is put back, what holds in the hour that comes twice holds twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .rates import limit_bytes_s

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_ENTRY: Final = re.compile(r"(?:([A-Za-z][A-Za-z,\- ]*?)\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)\s+(\S.*)")


class Entry(Struct, frozen=True):
    """One line: on `days` (0 is Monday), from one minute of the day up to another, so many bytes a second."""

    days: frozenset[int]
    start_minute: int
    stop_minute: int
    limit_bytes_s: int

    def holds(self, wall: datetime) -> bool:
        """Whether it holds at what the clock shows."""
        minute, today = wall.hour * 60 + wall.minute, wall.weekday()
        if self.start_minute < self.stop_minute:
            return today in self.days and self.start_minute <= minute < self.stop_minute
        begun_yesterday = (today - 1) % 7 in self.days and minute < self.stop_minute
        return begun_yesterday or (today in self.days and minute >= self.start_minute)


class Timetable(Struct, frozen=True):
    """All entries, in their order."""

    entries: tuple[Entry, ...]

    def limit_at(self, wall: datetime) -> int | None:
        """The limit in bytes a second (0: none) at what the clock shows; None where no entry holds."""
        return next((entry.limit_bytes_s for entry in self.entries if entry.holds(wall)), None)


def timetable(lines: Iterable[str]) -> Timetable:
    """A timetable from its lines.

    Raises:
        ValueError: a line is no entry; the message is the line.
    """
    return Timetable(tuple(_entry(line) for line in lines))


def _entry(line: str) -> Entry:
    found = _ENTRY.fullmatch(line.strip())
    if found is None:
        raise ValueError(line)
    days, start, stop = _days(found[1]), _minute(found[2], found[3]), _minute(found[4], found[5])
    limit = limit_bytes_s(found[6])
    if days is None or start is None or stop is None or start == _DAY_MINUTES or limit is None:
        raise ValueError(line)
    return Entry(days, start, stop, limit)


def _minute(hour: str, minute: str) -> int | None:
    total = int(hour) * 60 + int(minute)
    return total if int(minute) < 60 and total <= _DAY_MINUTES else None  # noqa: PLR2004 - minutes


def _days(text: str | None) -> frozenset[int] | None:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for words in text.lower().replace(" ", "").split(","):
        first, dash, last = words.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            return None
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % 7 + 1 if dash else 1
        days.update((begin + step) % 7 for step in range(count))
    return frozenset(days)

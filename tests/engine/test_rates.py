"""Rates and timetables as people write them, and as the clock on the wall reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from engine.rates import limit_bytes_s, rate_bytes_s
from engine.timetable import timetable

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2MB/s", 2e6),
        ("500kB/s", 5e5),
        ("500 KB/s", 5e5),
        ("256KiB/s", 256 * 1024),
        ("1.5MiB", 1.5 * 1024**2),
        ("5Mbit", 625e3),
        ("5 Mbit/s", 625e3),
        ("800kbps", 1e5),
        ("8Mb/s", 1e6),
        ("1GB/s", 1e9),
        ("4096B/s", 4096),
        ("2000", None),
        ("2M", None),
        ("0MB/s", None),
        ("-1MB/s", None),
        ("fast", None),
        ("2 iB/s", None),
    ],
)
def test_a_rate(text: str, expected: float | None) -> None:
    """A capital B is bytes, anything else bits; what has no unit is no rate."""
    assert rate_bytes_s(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("off", 0), ("1kB/s", 1000), ("999B/s", None), ("0B/s", None), ("on", None)]
)
def test_a_limit(text: str, expected: int | None) -> None:
    """`off` is no limit, and what is too low to send anything by is none either."""
    assert limit_bytes_s(text) == expected


# Monday is 2026-11-23.
WEEK = timetable(
    ["Mon-Fri 08:00-18:00 500kB/s", "Fri,sun 22:00-06:00 off", "23:00-24:00 3MB/s", "Sat 00:00-00:00 2MB/s"]
)


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        ("2026-11-23 07:59", None),
        ("2026-11-23 08:00", 500_000),
        ("2026-11-23 17:59", 500_000),
        ("2026-11-23 18:00", None),
        ("2026-11-23 05:59", 0),  # Sunday's, over midnight
        ("2026-11-23 06:00", None),
        ("2026-11-23 23:30", 3_000_000),
        ("2026-11-24 05:00", None),
        ("2026-11-27 22:00", 0),
        ("2026-11-27 23:30", 0),  # the first entry that holds
        ("2026-11-28 05:59", 0),
        ("2026-11-28 06:00", 2_000_000),
        ("2026-11-28 23:30", 3_000_000),
        ("2026-11-29 12:00", None),
    ],
)
def test_what_holds_when(wall: str, expected: int | None) -> None:
    """The first entry that holds; an entry over midnight belongs to the day it begins on."""
    assert WEEK.limit_at(datetime.fromisoformat(wall)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "08:00-18:00",
        "08:00 500kB/s",
        "8-18 500kB/s",
        "08:60-18:00 500kB/s",
        "25:00-26:00 500kB/s",
        "24:00-06:00 500kB/s",
        "Mo 08:00-18:00 500kB/s",
        "Mon- 08:00-18:00 500kB/s",
        "Mon,, 08:00-18:00 500kB/s",
        "08:00-18:00 fast",
        "08:00-18:00 1B/s",
        "",
    ],
)
def test_what_is_no_entry(line: str) -> None:
    """The line that cannot be read is named."""
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        timetable(["08:00-18:00 1MB/s", line])


@pytest.mark.parametrize("days", ["Fri-Mon", "fri, sat,SUN-mon", "Mon,Fri-Sun"])
def test_days_around_the_weekend(days: str) -> None:
    """A range may go over the end of the week, and a list may hold ranges."""
    table = timetable([f"{days} 00:00-00:00 1MB/s"])
    held = [day for day in range(23, 30) if table.limit_at(datetime(2026, 11, day, 12)) is not None]  # noqa: DTZ001 - a wall's
    assert held == [23, 27, 28, 29]


def switches(lines: list[str], start: datetime, hours: int) -> list[tuple[str, int | None]]:
    """At which moments (UTC) the limit becomes another one, for somebody in Berlin."""
    table, found = timetable(lines), []
    before: int | None = -1
    for minute in range(hours * 60):
        epoch_s = start.timestamp() + 60 * minute
        limit = table.limit_at(datetime.fromtimestamp(epoch_s, BERLIN))
        if limit != before:
            found.append((f"{datetime.fromtimestamp(epoch_s, UTC):%H:%M}", limit))
            before = limit
    return found


def test_the_night_the_clocks_are_put_forward() -> None:
    """2026-03-29: 02:00 is 03:00. What had begun in the hour left out begins after it; what ended in it has ended."""
    night = datetime(2026, 3, 29, tzinfo=UTC)  # 01:00 in Berlin
    assert switches(["02:30-04:00 1MB/s"], night, 4) == [("00:00", None), ("01:00", 1_000_000), ("02:00", None)]
    assert switches(["01:30-02:30 1MB/s"], night, 4) == [("00:00", None), ("00:30", 1_000_000), ("01:00", None)]
    assert switches(["02:15-02:45 1MB/s"], night, 4) == [("00:00", None)]


def test_the_night_the_clocks_are_put_back() -> None:
    """2026-10-25: 03:00 is 02:00 again. What holds in the hour that comes twice holds twice."""
    night = datetime(2026, 10, 24, 23, tzinfo=UTC)  # 01:00 in Berlin
    assert switches(["02:15-02:45 1MB/s"], night, 4) == [
        ("23:00", None), ("00:15", 1_000_000), ("00:45", None), ("01:15", 1_000_000), ("01:45", None)
    ]  # fmt: skip
    assert switches(["01:30-04:00 1MB/s"], night, 5) == [("23:00", None), ("23:30", 1_000_000), ("03:00", None)]

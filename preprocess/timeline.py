"""Places on a recording's time line, in words."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """A place on the time line as players show it: `1:02:03.4`, `2:03.4`."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    whole = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{whole}:{rest / 10:04.1f}"

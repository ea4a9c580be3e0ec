"""Rates as people write them. Pure."""

from __future__ import annotations

import re
from typing import Final

UNLIMITED: Final = 0
"""The limit (bytes a second) of who wants none, whatever else is set."""

LEAST_LIMIT_BYTES_S: Final = 1000
"""The least limit taken: at less, a lane is silent for longer than servers wait."""

_RATE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*(?:([kKmMgG])(i?))?(b(?:it)?|Bit|B)(?:/s|ps)?")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3}


def rate_bytes_s(text: str) -> float | None:
    """Bytes a second from `2MB/s`, `500 kB/s`, `256KiB/s`, `5Mbit/s` or `800kbps`; None where it is no rate.

    A capital B is bytes, `b` and `bit` are bits. A number without a unit is nothing: programs read it in three ways.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None:
        return None
    base = 1024 if found[3] else 1000
    rate = float(found[1]) * base ** _POWERS[(found[2] or "").lower()]
    return (rate if found[4] == "B" else rate / 8) or None


def limit_bytes_s(text: str) -> int | None:
    """A limit from a rate or `off`; None where it is neither, or too low to send anything by."""
    if text.strip() == "off":
        return UNLIMITED
    rate = rate_bytes_s(text)
    return None if rate is None or rate < LEAST_LIMIT_BYTES_S else round(rate)

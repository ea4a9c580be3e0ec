"""What past uploads tell of the link: how fast the next one will go."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Tally

REMEMBERED: Final = 20
"""How many uploads back one has to look: small ones are passed over."""

_RECENT: Final = 5  # their middle: one upload from a train, or beside a download, does not decide for the next
_LEAST_BYTES: Final = 500_000  # a smaller one is over before TCP has found the link's rate
_LEAST_S: Final = 0.1


def uplink_bits_s(uploads: Iterable[Tally]) -> float | None:
    """Bits per second that the link will carry, from what uploads have cost, newest first; None where too few tell."""
    telling = [one for one in uploads if one.sent_bytes >= _LEAST_BYTES and one.sending_s >= _LEAST_S]
    rates = [8 * one.sent_bytes / one.sending_s for one in telling[:_RECENT]]
    return median(rates) if rates else None

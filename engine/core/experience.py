"""What past jobs tell of this machine and its link: how fast the next one will go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .median import median

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Tally

REMEMBERED: Final = 20
"""How many jobs back one has to look: those that tell nothing are passed over."""

_RECENT: Final = 5  # one upload from a train, or beside a download, does not decide for the next
_LEAST_BYTES: Final = 500_000  # a smaller one is over before TCP has found the link's rate
_LEAST_S: Final = 0.1


class Experience(Struct, frozen=True):
    """What is known; None where nothing is.

    Attributes:
        uplink_bits_s: Bits per second that the link to a service carries.
        speed: How fast a processor of this machine prepares, as a multiple of the one the recipes were measured on.
    """

    uplink_bits_s: float | None = None
    speed: float | None = None


def uplink_bits_s(uploads: Iterable[Tally]) -> float | None:
    """Bits per second that the link will carry, from what uploads have cost, newest first; None where too few tell.

    The second best of the last: an upload that began slowly, or came piece by piece from an encoder, shows less than
    the link carries, and hardly any shows more.
    """
    telling = [one for one in uploads if one.sent_bytes >= _LEAST_BYTES and one.sending_s >= _LEAST_S]
    rates = sorted(8 * one.sent_bytes / one.sending_s for one in telling[:_RECENT])
    return rates[-2] if len(rates) > 1 else next(iter(rates), None)


def speed(artifacts: Iterable[float | None]) -> float | None:
    """How fast this machine will prepare, from how fast it has, newest first; None where nothing was measured."""
    recent = [one for one in artifacts if one][:_RECENT]
    return median(recent) if recent else None

"""How fast bytes may leave: which limit holds, and when the next piece may go under it. Pure; told the time.

The promise is that no 10 s see more than the limit by 3 %, nor less where the link carries it. So what was missed may
be made up for by a tenth of a second, and a piece is a twentieth: together 1.5 % of 10 s.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from ..rates import UNLIMITED

LANE_BYTES_S: Final = 16 << 10  # the smallest request of 64 KiB within the 4 s that one should take (core.pacing)


class Grain(Struct, frozen=True):
    """How evenly bytes leave.

    A piece is what goes in `piece_s` seconds, and at least `least_bytes`: at the least limit, 1 kB/s, an eighth of a
    second. A timer that fires late, or the pause between two requests, costs no rate up to `made_up_s`.
    """

    piece_s: float = 0.05
    made_up_s: float = 0.1
    least_bytes: int = 128


FINE: Final = Grain(0.02, 0.02, 2 * 1448)  # half a piece is queue; two full segments are acknowledged at once


class Rules(Struct, frozen=True):
    """What limits a job that has no limit of its own, in bytes a second; 0 is no limit, None says nothing.

    `timed` is the timetable's word for this moment; where it is silent, `usual` holds.
    """

    timed: int | None = None
    usual: int | None = None


def limit_in_force(own: int | None, rules: Rules) -> int | None:
    """The limit of a job, in bytes a second, or None: its own, else the timetable's, else the usual one."""
    found = next((limit for limit in (own, rules.timed, rules.usual) if limit is not None), UNLIMITED)
    return found or None


def lanes_worth(limit_bytes_s: float | None, most: int) -> int:
    """How many of `most` lanes to use at once under a limit.

    More would each be silent for so long between two pieces that servers cut them (nginx after 60 s, others after 20),
    and would finish no request in good time.
    """
    if limit_bytes_s is None:
        return most
    return max(1, min(most, int(limit_bytes_s / LANE_BYTES_S)))


class Bucket:
    """Tells when a piece may go so that pieces leave at a rate. Owned by whoever serves the queue before it."""

    def __init__(self, rate_bytes_s: float, now_s: float, grain: Grain | None = None) -> None:
        self.rate_bytes_s = rate_bytes_s
        self._grain = grain or Grain()
        self._free_s = now_s

    @property
    def piece_bytes(self) -> int:
        """How much should go at once."""
        return max(self._grain.least_bytes, int(self.rate_bytes_s * self._grain.piece_s))

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next piece may go."""
        return max(0.0, self._free_s - now_s)

    def spend(self, size_bytes: int, now_s: float) -> None:
        """A piece goes now."""
        self._free_s = max(self._free_s, now_s - self._grain.made_up_s) + size_bytes / self.rate_bytes_s

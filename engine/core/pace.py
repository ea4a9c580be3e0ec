"""How fast bytes may leave: which limit holds, and when the next piece may go under it. Pure; told the time.

The promise is that no 10 s see more than the limit by 3 %, nor less where the link carries it. So what was missed may
be made up for by a tenth of a second, and a piece is a twentieth: together 1.5 % of 10 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..rates import UNLIMITED

MADE_UP_S: Final = 0.1  # a timer that fires late, or the pause between two requests, costs no rate up to this
PIECE_S: Final = 0.05
LEAST_PIECE_BYTES: Final = 128  # at the least limit, 1 kB/s, an eighth of a second
LANE_BYTES_S: Final = 16 << 10  # the smallest request of 64 KiB within the 4 s that one should take (core.pacing)


@dataclass(frozen=True, slots=True)
class Rules:
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

    def __init__(self, rate_bytes_s: float, now_s: float) -> None:
        self._rate = rate_bytes_s
        self._free_s = now_s

    @property
    def rate_bytes_s(self) -> float:
        """The rate it keeps."""
        return self._rate

    @rate_bytes_s.setter
    def rate_bytes_s(self, rate_bytes_s: float) -> None:
        self._rate = rate_bytes_s

    @property
    def piece_bytes(self) -> int:
        """How much should go at once."""
        return max(LEAST_PIECE_BYTES, int(self._rate * PIECE_S))

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next piece may go."""
        return max(0.0, self._free_s - now_s)

    def spend(self, size_bytes: int, now_s: float) -> None:
        """A piece goes now."""
        self._free_s = max(self._free_s, now_s - MADE_UP_S) + size_bytes / self._rate

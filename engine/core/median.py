"""The value in the middle. `statistics` has it, behind fractions and decimals: to load those is 2 % of a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """Half of the values are no more than this, half no less.

    Raises:
        IndexError: there are none.
    """
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

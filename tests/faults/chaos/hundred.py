"""A hundred seeds that CI tries each time: the quickest that have everything between them."""

from typing import Final

HUNDRED: Final[tuple[int, ...]] = tuple(range(1, 101))

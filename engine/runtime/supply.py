"""How much of the artifact there is to send: all of it, or as much as has been written so far."""

from __future__ import annotations

from typing import Final, Protocol

from ..model import OPEN_END


class Supply(Protocol):
    """What lanes may read."""

    @property
    def stop(self) -> int:
        """Bytes below this offset are final and can be read. A lane that ends at or below it has its length."""

    @property
    def ended(self) -> bool:
        """Whether nothing will come beyond `stop`."""

    async def wait_beyond(self, offset: int) -> None:
        """Return when there is something worth sending beyond `offset`, or the artifact has ended."""


class _Sealed:
    """An artifact that is all there: wherever lanes end, they end."""

    stop = OPEN_END
    ended = True

    async def wait_beyond(self, offset: int) -> None:
        """Nothing is ever missing."""
        raise ValueError(f"a sealed artifact has nothing beyond {offset} to wait for")


SEALED: Final[Supply] = _Sealed()

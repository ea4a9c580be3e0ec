"""What is shown to a server, and to which."""

from __future__ import annotations

from msgspec import Struct


class Credentials(Struct, frozen=True):
    """Headers that go to one origin and nowhere else."""

    url: str
    headers: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

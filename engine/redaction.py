"""Keeps secrets out of everything a person or a log may see.

API keys and upload URLs (whoever has one may write to the upload) travel as `Secret`: its text never
appears in `str`, `repr` or an f-string. Every revealed value is also remembered, so that `scrub` can
remove it from text that other libraries wrote, such as a log line or an exception message.
"""

from __future__ import annotations

import hashlib
from typing import Final

_MIN_SCRUBBED_LENGTH: Final = 6  # shorter values would blank out innocent words
_MIN_SEGMENT_LENGTH: Final = 12  # a path segment that short is a route's name, not a capability
_known: set[str] = set()


class Secret:
    """A value that only `reveal()` shows. Compares and hashes by value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """The value itself, for the one place that must send or seal it."""
        return self._value

    def tag(self) -> str:
        """Eight hex digits that tell two secrets apart without showing either."""
        return hashlib.blake2b(self._value.encode(), digest_size=4).hexdigest()

    def __repr__(self) -> str:
        return f"<secret {self.tag()}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def remember(value: str) -> None:
    """Note a value that `scrub` must remove; for a URL also its telling parts, the last segment and query."""
    candidates = [value]
    if "://" in value or value.startswith("/"):
        path, _, query = value.partition("?")
        segment = path.rstrip("/").rpartition("/")[2]
        candidates += [query, segment if len(segment) >= _MIN_SEGMENT_LENGTH else ""]
    _known.update(text for text in candidates if len(text) >= _MIN_SCRUBBED_LENGTH)


def scrub(text: str) -> str:
    """The text with every remembered secret replaced by `[secret]`, longest first."""
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, "[secret]")
    return text

"""What well-known tus servers demand of the size of a request: rules that they publish and do not announce."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from ..model import Limits

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20

# developers.cloudflare.com/stream/uploading-videos/resumable-uploads: at least 5,242,880 bytes, at most 209,715,200,
# divisible by 256 KiB, the last one excepted.
_CLOUDFLARE: Final = Limits(min_bytes=5 * _MIB, max_bytes=200 * _MIB, multiple_bytes=256 * _KIB)
# supabase.com/docs/guides/storage/uploads/resumable-uploads: 6 MiB and nothing else, the last one excepted.
_SUPABASE: Final = Limits(exact_bytes=6 * _MIB)

# Whose host ends so and whose path holds the words is that service; by its own documentation's examples.
_RULES: Final[tuple[tuple[str, str, Limits], ...]] = (
    ("api.cloudflare.com", "/stream", _CLOUDFLARE),
    (".supabase.co", "/storage/v1/upload/resumable", _SUPABASE),
)


def published_limits(url: str) -> Limits:
    """The rule that the server at `url` publishes; no limits where none is known."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return Limits()
    for name, words, limits in _RULES:
        if (host == name or (name.startswith(".") and host.endswith(name))) and words in parts.path:
            return limits
    return Limits()

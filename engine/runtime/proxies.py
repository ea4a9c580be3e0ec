"""Whether requests go straight to their servers."""

from __future__ import annotations

import os
import sys
from typing import Final

_ASKS_THE_SYSTEM: Final = frozenset({"darwin", "win32"})  # there urllib looks beyond the environment


def goes_directly() -> bool:
    """Whether nothing names a proxy. Loading urllib's own answer takes 10 ms; it is asked where it could be another."""
    if sys.platform not in _ASKS_THE_SYSTEM and not any(name.lower().endswith("_proxy") for name in os.environ):
        return True
    import urllib.request

    return not set(urllib.request.getproxies()) - {"no"}

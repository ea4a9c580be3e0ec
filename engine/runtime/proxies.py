"""Which way requests go: straight to their servers, or by a proxy that the environment names."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final

from ..wire.address import origin

_ASKS_THE_SYSTEM: Final = frozenset({"darwin", "win32"})  # there urllib looks beyond the environment


def goes_directly() -> bool:
    """Whether nothing names a proxy. Loading urllib's own answer takes 10 ms; it is asked where it could be another."""
    if sys.platform not in _ASKS_THE_SYSTEM and not any(name.lower().endswith("_proxy") for name in os.environ):
        return True
    import urllib.request

    return not set(urllib.request.getproxies()) - {"no"}


def first_hop(url: str) -> tuple[str, str, int]:
    """The origin that a request for `url` connects to: the proxy's that is named for it, or its server's."""
    import urllib.request

    target = origin(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(target[0]) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(target[1]):
        with contextlib.suppress(ValueError):
            return origin(proxy)
    return target

"""Connections begun while the program still loads what will use them: loading takes longer than most round trips.

Nothing is imported here that is not needed to connect. What was begun and is not taken is closed with the program.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from collections import defaultdict, deque
from typing import Final

from ..wire.address import origin

OPTIONS: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_begun: Final[defaultdict[tuple[str, int], deque[socket.socket]]] = defaultdict(deque)


def goes_directly() -> bool:
    """Whether the environment names no proxy at all."""
    return not set(urllib.request.getproxies()) - {"no"}


def begin(url: str, count: int) -> None:
    """Begin so many connections to where requests for `url` will go, and wait for nothing.

    Whatever fails here is met again, and told, by who needs a connection.
    """
    try:
        _, host, port = origin(url)
    except ValueError:
        return
    if not goes_directly():
        return
    try:
        _begin_at(host, port, count, socket.AI_NUMERICHOST)
    except socket.gaierror:  # a name, for which the resolver may take its time
        threading.Thread(target=_begin_by_name, args=(host, port, count), daemon=True).start()


def take(host: str, port: int) -> socket.socket | None:
    """A connection that is there or under way, non-blocking; None if none was begun."""
    begun = _begun[host, port]
    return begun.popleft() if begun else None


def _begin_by_name(host: str, port: int, count: int) -> None:
    with contextlib.suppress(OSError, UnicodeError):
        _begin_at(host, port, count, 0)


def _begin_at(host: str, port: int, count: int, flags: int) -> None:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    for _ in range(count):
        with contextlib.suppress(OSError):
            fresh = socket.socket(family, socket.SOCK_STREAM)
            fresh.setblocking(False)  # noqa: FBT003 - the call's own form
            for option in OPTIONS:
                fresh.setsockopt(*option)
            fresh.connect_ex(address)
            _begun[host, port].append(fresh)

"""Makes connections, to whichever address of a host answers first (RFC 8305).

Apart from what speaks over them, whose libraries take longer to load than a server to answer.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterable

Address: TypeAlias = tuple[
    socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]
]  # as getaddrinfo tells them
_NEXT_ADDRESS_AFTER_S: Final = 0.25  # RFC 8305 section 5: Connection Attempt Delay


async def connected(host: str, port: int) -> socket.socket:
    """A socket connected to the first address of a host that answers; each is tried a moment after the one before.

    Raises:
        OSError: none did, or there is no such host.
    """
    found = _in_turn(await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    failures: list[OSError] = []
    won: list[socket.socket] = []
    with contextlib.ExitStack() as spare:

        async def attempt(family: socket.AddressFamily, address: tuple[object, ...], failed: anyio.Event) -> None:
            try:
                fresh = await _connected(family, address)
            except OSError as error:
                failures.append(error)
                failed.set()
            else:
                won.append(spare.enter_context(fresh))
                attempts.cancel_scope.cancel()

        async with anyio.create_task_group() as attempts:
            for family, address in found:
                failed = anyio.Event()
                attempts.start_soon(attempt, family, address, failed)
                with anyio.move_on_after(_NEXT_ADDRESS_AFTER_S):
                    await failed.wait()
        if not won:
            raise _none_answered(failures)
        return won[0].dup()


def _none_answered(failures: list[OSError]) -> OSError:
    if len(failures) == 1:
        return failures[0]
    error = OSError("no address answered")
    error.__cause__ = ExceptionGroup("one failure an address", failures)
    return error


def _in_turn(found: Iterable[Address]) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    """The addresses in the system's order, but families in alternation, so that a dead one costs one delay."""
    families: dict[socket.AddressFamily, list[tuple[object, ...]]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(address)
    rounds = itertools.zip_longest(*([(family, each) for each in known] for family, known in families.items()))
    return [pair for pairs in rounds for pair in pairs if pair is not None]


async def _connected(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    with contextlib.ExitStack() as unless_connected:
        fresh = unless_connected.enter_context(socket.socket(family, socket.SOCK_STREAM))
        fresh.setblocking(False)  # noqa: FBT003 - the call's own form
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = fresh.connect_ex(address)
        if error == errno.EINPROGRESS:
            await anyio.wait_writable(fresh)
            error = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        unless_connected.pop_all()
        return fresh

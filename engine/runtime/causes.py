"""What the operating system said beneath what the libraries made of it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OFFLINE: Final = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def system_errors(error: BaseException) -> Iterator[OSError]:
    """The system's own errors beneath `error`: one for each address that was tried."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from system_errors(member)
        return
    beneath = error.__cause__ or error.__context__
    found = list(system_errors(beneath)) if beneath is not None else []
    if not found and isinstance(error, OSError) and error.errno:
        found = [error]
    yield from found


def words_of(error: OSError) -> str:
    """What the system says about it, without addresses."""
    if isinstance(error, (socket.gaierror, ssl.SSLError)) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def is_offline(error: OSError) -> bool:
    """Whether it means that this machine has no network, or no name service."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return not isinstance(error, ssl.SSLError) and error.errno in _OFFLINE


def was_refused(error: BaseException) -> bool:
    """Whether somebody answered, and said no."""
    return any(root.errno == errno.ECONNREFUSED for root in system_errors(error))

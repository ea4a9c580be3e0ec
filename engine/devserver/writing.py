"""Bytes to the disk, whole pieces at a time."""

import errno
import os
from http import HTTPStatus

from .errors import Refusal
from .headers import Digest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_all(file: int, data: bytes, at: int, digest: Digest | None) -> None:
    """Write ``data`` at an offset, however many calls it takes.

    Raises:
        Refusal: 507 when the disk is full.
    """
    if digest is not None:
        digest.update(data)
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(file, view, at)
            at += written
            view = view[written:]
    except OSError as error:
        if error.errno in _FULL:
            raise no_space() from error
        raise


def no_space() -> Refusal:
    """A 507."""
    return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, "the server's disk is full")


def too_long(limit: int) -> Refusal:
    """A 413."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the upload would grow beyond its {limit} bytes")

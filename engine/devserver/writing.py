"""Bytes to the disk, whole pieces at a time."""

import errno
import os
from http import HTTPStatus
from pathlib import Path

from .errors import Refusal
from .headers import Digest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
RESERVE_BYTES = 64 << 20  # recordings leave this to the database, whose commits are what makes an offset true


def write_all(file: int, data: bytes, at: int, digest: Digest | None) -> None:
    """Write ``data`` at an offset, however many calls it takes.

    Raises:
        Refusal: 507 when the disk is full, but for ``RESERVE_BYTES``.
    """
    if room(file) < len(data):
        raise no_space()
    if digest is not None:
        digest.update(data)
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(file, view, at)
            at += written
            view = view[written:]
    except OSError as error:
        raise as_refusal(error) from error


def room(place: int | Path) -> int:
    """How many bytes of recordings fit on the disk of a file or folder."""
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize - RESERVE_BYTES


def as_refusal(error: OSError) -> Exception:
    """A 507 for a full disk; any other error as it is."""
    return no_space() if error.errno in _FULL else error


def no_space() -> Refusal:
    """A 507."""
    return Refusal(HTTPStatus.INSUFFICIENT_STORAGE, "the server's disk is full")


def too_long(limit: int) -> Refusal:
    """A 413."""
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the upload would grow beyond its {limit} bytes")

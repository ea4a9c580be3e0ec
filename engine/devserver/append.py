"""One PATCH: bytes from a body to the end of an upload."""

import errno
import os
from http import HTTPStatus

from anyio import to_thread

from .body import Body, End
from .errors import Refusal
from .headers import Digest
from .uploads import Held, Uploads

CHECKSUM_MISMATCH = 460  # tus, "Checksum": not an IANA status
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Mismatch(Exception):
    """The bytes are not those that were hashed; nothing of them was kept."""


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


async def append(uploads: Uploads, held: Held, body: Body, limit: int, checksum: tuple[Digest, bytes] | None) -> None:
    """Append a body to an upload; ``held.offset`` moves as far as is durable then.

    However the body ends, what arrived is kept, except that a body with a checksum is kept whole or not at all.

    Raises:
        Refusal: 413 when it would exceed ``limit``, 507 when the disk is full, and what ``_check_end`` says.
        Mismatch: The checksum is another.
    """
    if body.length is not None and held.offset + body.length > limit:
        raise too_long(limit)
    start = offset = held.offset
    digest, wanted = checksum or (None, b"")
    if digest is not None:
        await uploads.suspect(held)
    keep = False
    try:
        async for piece in body.pieces():
            if offset + len(piece) > limit:
                offset = start
                raise too_long(limit)
            await to_thread.run_sync(write_all, held.file, piece, offset, digest)
            offset += len(piece)
        keep = digest is None or (body.end is End.COMPLETE and digest.digest() == wanted)
    except Refusal:
        keep = digest is None
        raise
    finally:
        await uploads.settle(held, offset if keep or digest is None else start)
    if not keep and body.end is End.COMPLETE:
        raise Mismatch
    _check_end(body, held)


def _check_end(body: Body, held: Held) -> None:
    """Raise what tells the client that its body was not taken whole.

    Raises:
        Refusal: 423 when another request took over, 503 when the server stops, 408 when the client fell silent
            or is gone.
    """
    told = {"Upload-Offset": str(held.offset)}
    match body.end:
        case End.INTERRUPTED:
            raise Refusal(HTTPStatus.LOCKED, "another request has taken over this upload", headers=told)
        case End.STOPPING:
            told["Retry-After"] = "1"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the server is stopping", headers=told)
        case End.CUT | End.IDLE:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive", headers=told)

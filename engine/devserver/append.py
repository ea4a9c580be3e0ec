"""One PATCH: bytes from a body to the end of an upload."""

from .body import Body, End
from .headers import Digest
from .uploads import Held, Uploads
from .writing import WriteBehind, too_long

CHECKSUM_MISMATCH = 460  # tus, "Checksum": not an IANA status


class Mismatch(Exception):
    """The bytes are not those that were hashed; nothing of them was kept."""


async def append(uploads: Uploads, held: Held, body: Body, limit: int, checksum: tuple[Digest, bytes] | None) -> None:
    """Append a body to an upload; ``held.offset`` moves as far as is durable then.

    However the body ends, what arrived is kept, except that a body with a checksum is kept whole or not at all.

    Raises:
        Refusal: 413 when it would exceed ``limit``, 507 when the disk is full, and what ``Body.require_whole`` says.
        Mismatch: The checksum is another.
    """
    if body.length is not None and held.offset + body.length > limit:
        raise too_long(limit)
    start = held.offset
    digest, wanted = checksum or (None, b"")
    if digest is not None:
        await uploads.suspect(held)
    keep = digest is None
    writing = WriteBehind(held.file, start, digest)
    arrived = start
    try:
        async for chunks in body.pieces():
            arrived += sum(map(len, chunks))
            if arrived > limit:
                keep = False
                raise too_long(limit)
            await writing.take(chunks)
        await writing.done()
        keep = digest is None or (body.end is End.COMPLETE and digest.digest() == wanted)
    finally:
        await writing.let_go()
        await uploads.settle(held, writing.end if keep else start)
    if not keep and body.end is End.COMPLETE:
        raise Mismatch
    body.require_whole({"Upload-Offset": str(held.offset)})

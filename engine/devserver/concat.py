"""Concatenation: one final upload out of several partial ones.

A final upload copies nothing: it has its own hard link to each partial's file, so it outlives them, may
be asked for while they still grow, and takes no space. The job made from it gets one plain file.
"""

import os
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from .creations import Creation, seal_of
from .errors import Refusal
from .folder import sync_folder
from .headers import bad
from .store import Store, Upload
from .uploads import Uploads, name_of
from .writing import as_refusal, no_space, room, too_long

PREFIX = "/v1/uploads/"
_MEMBERS_MAX = 1024  # more lanes than any client opens; bounds the work of one request
_COPY_BYTES = 64 << 20


def id_in(url: str) -> str | None:
    """The upload id in one of this server's upload URLs, else None.

    Only the path counts: behind a proxy the server does not know its own name.
    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    upload_id = path.removeprefix(PREFIX)
    return upload_id if path.startswith(PREFIX) and upload_id and "/" not in upload_id else None


def member_ids(value: str) -> list[str]:
    """Read ``final;URL URL ...``.

    Raises:
        Refusal: 400 when it names no upload, too many, or something else than an upload here.
    """
    ids = [id_in(url) for url in value.removeprefix("final;").split()]
    if not 1 <= len(ids) <= _MEMBERS_MAX:
        raise bad(f"Upload-Concat names between 1 and {_MEMBERS_MAX} uploads")
    found = [upload_id for upload_id in ids if upload_id is not None]
    if len(found) != len(ids):
        raise bad("Upload-Concat names something that is not an upload of this server")
    return found


def seal(value: str, upload_id: str) -> bytes:
    """Hide the URLs in an ``Upload-Concat`` so that only who knows the final's id can read them."""
    return seal_of(upload_id, b"upload-concat").encrypt(value.encode())


def unseal(sealed: bytes, upload_id: str) -> str:
    """Read back what ``seal`` hid."""
    return seal_of(upload_id, b"upload-concat").decrypt(sealed).decode()


def create_final(
    uploads: Uploads, store: Store, upload: Upload, members: list[str], creation: Creation | None, limit_bytes: int
) -> Upload:
    """Make a final upload of the partial uploads with these ids, or find the one its key already made. Blocks.

    Raises:
        Refusal: 400 ``bad_partials`` when one of them is not a partial upload of this account that still exists or is
            named twice, 413 when together they are too long, and what ``Uploads.admit`` says.
    """
    uploads.require_few(upload.account)
    partials = _partials(store, upload.account, members)
    if sum(partial.length or 0 for partial in partials) > limit_bytes:
        raise too_long(limit_bytes)
    links: list[Path] = []
    made = None
    try:
        for position, partial in enumerate(partials):
            link = uploads.member_path(upload.name, position)
            os.link(uploads.path(partial.name), link)
            links.append(link)
        sync_folder(links[0].parent)
        made = uploads.admit(upload, tuple(partial.name for partial in partials), creation)
    except FileNotFoundError as error:
        raise _bad_partials([len(links)]) from error
    except OSError as error:
        raise as_refusal(error) from error
    finally:
        if made is None or made.name != upload.name:
            for link in links:
                link.unlink()
    return finish(store, made)


def _partials(store: Store, account: str, members: list[str]) -> list[Upload]:
    """The uploads with these ids. Whether one is missing, gone, no partial or somebody else's is not told apart."""
    found: dict[str, Upload] = {}
    wrong: list[int] = []
    for position, member in enumerate(members):
        partial = store.upload(name_of(member))
        known = partial is not None and partial.account == account and partial.gone_at is None
        if partial is None or not known or partial.kind != "partial" or partial.name in found:
            wrong.append(position)
        else:
            found[partial.name] = partial
    if wrong:
        raise _bad_partials(wrong)
    return list(found.values())


def _bad_partials(positions: list[int]) -> Refusal:
    message = "Upload-Concat names an upload that is not a partial upload of yours, or names one twice"
    extra = {"code": "bad_partials", "bad_partials": positions}
    return Refusal(HTTPStatus.BAD_REQUEST, message, extra=extra)


def finish(store: Store, final: Upload) -> Upload:
    """Settle a final upload's length, and its offset once every partial is complete. Blocks.

    Raises:
        Refusal: 410 when a partial ended before it was complete, so that this final never will be.
    """
    if final.complete:
        return final
    members = store.members(final.name)
    if any(member.gone_at is not None and not member.complete for member in members):
        raise Refusal(HTTPStatus.GONE, "a partial upload of this one was terminated or has expired unfinished")
    lengths = [member.length for member in members if member.length is not None]
    if len(lengths) < len(members):
        return final
    length = sum(lengths)
    if final.length is None:
        store.set_length(final.name, length)
    if all(member.complete for member in members):
        store.set_synced(final.name, length)
        return replace(final, length=length, synced=length)
    return replace(final, length=length)


def assemble(uploads: Uploads, store: Store, final: Upload, target: Path) -> None:
    """Write the bytes of a complete final upload into a new file. Blocks.

    Raises:
        Refusal: 410 when a part of it is no more, 507 when the disk is full.
    """
    if (final.length or 0) > room(target.parent):
        raise no_space()
    output = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        for position in range(len(store.members(final.name))):
            try:
                source = os.open(uploads.member_path(final.name, position), os.O_RDONLY)
            except FileNotFoundError as error:
                raise Refusal(HTTPStatus.GONE, "this upload was terminated or has expired") from error
            try:
                while os.copy_file_range(source, output, _COPY_BYTES):
                    pass
            finally:
                os.close(source)
        os.fsync(output)
    except OSError as error:
        raise as_refusal(error) from error
    finally:
        os.close(output)

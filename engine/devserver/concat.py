"""Concatenation: one final upload out of several partial ones.

A final upload copies nothing: it has its own hard link to each partial's file, so it outlives them, may
be asked for while they still grow, and takes no space. The job made from it gets one plain file.
"""

import base64
import hashlib
import os
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from .errors import Refusal
from .folder import sync_folder
from .headers import bad
from .store import Store, Upload
from .uploads import Uploads, name_of

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


def _seal_of(upload_id: str) -> Fernet:
    key = hashlib.blake2b(upload_id.encode(), digest_size=32, person=b"upload-concat").digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(value: str, upload_id: str) -> bytes:
    """Hide the URLs in an ``Upload-Concat`` so that only who knows the final's id can read them."""
    return _seal_of(upload_id).encrypt(value.encode())


def unseal(sealed: bytes, upload_id: str) -> str:
    """Read back what ``seal`` hid."""
    return _seal_of(upload_id).decrypt(sealed).decode()


def create_final(uploads: Uploads, store: Store, upload: Upload, members: list[str]) -> Upload:
    """Make a final upload of the partial uploads with these ids. Blocks.

    Raises:
        Refusal: 400 when one of them is not a partial upload of this account that still exists.
    """
    partials: list[Upload] = []
    for member in members:
        partial = store.upload(name_of(member))
        known = partial is not None and partial.account == upload.account and partial.gone_at is None
        if partial is None or not known or partial.kind != "partial":
            raise bad("Upload-Concat names an upload that is not a partial upload of yours")
        partials.append(partial)
    links: list[Path] = []
    try:
        for position, partial in enumerate(partials):
            link = uploads.member_path(upload.name, position)
            os.link(uploads.path(partial.name), link)
            links.append(link)
    except FileNotFoundError as error:
        for link in links:
            link.unlink()
        raise bad("Upload-Concat names an upload that is gone") from error
    sync_folder(links[0].parent)
    return finish(store, store.add_upload(upload, tuple(partial.name for partial in partials)))


def finish(store: Store, final: Upload) -> Upload:
    """Settle a final upload's length, and its offset once every partial is complete. Blocks."""
    if final.complete:
        return final
    members = store.members(final.name)
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
        Refusal: 410 when a part of it is no more.
    """
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
    finally:
        os.close(output)

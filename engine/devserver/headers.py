"""The headers of tus 1.0.0, read and checked."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol

import xxhash
from starlette.datastructures import Headers

from .errors import Refusal

_DIGITS = re.compile(r"[0-9]{1,19}")  # any length a file can have fits in 19 digits
_METADATA_MAX = 8 << 10  # every HEAD sends it back: a name of 1024 characters fits, a file does not
_METADATA_KEY = re.compile(r"[!-+\--~]+")  # ASCII, no blank, no comma (tus, "Upload-Metadata")


class Digest(Protocol):
    """A hash in the making."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The hash of the bytes so far."""


# sha1 is the one every tus server must know; xxh3-128 is the fast one.
CHECKSUMS: Mapping[str, Callable[[], Digest]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "xxh3-128": xxhash.xxh3_128,
}


def bad(message: str) -> Refusal:
    """A 400 with a sentence."""
    return Refusal(HTTPStatus.BAD_REQUEST, message)


def number(headers: Headers, name: str) -> int | None:
    """Read a header that is a number of bytes.

    Raises:
        Refusal: 400 when it is anything else.
    """
    value = headers.get(name)
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise bad(f"{name} is not a number of bytes")
    return int(value)


def deferred(headers: Headers) -> bool:
    """Whether the length comes later.

    Raises:
        Refusal: 400 when ``Upload-Defer-Length`` is not ``1``.
    """
    value = headers.get("Upload-Defer-Length")
    if value not in {None, "1"}:
        raise bad("Upload-Defer-Length can only be 1")
    return value is not None


def metadata(headers: Headers) -> str:
    """Check ``Upload-Metadata`` and return it as it came; an empty one is the same as none.

    Raises:
        Refusal: 400 when it is not ``key base64`` pairs with distinct keys, 431 when it is too long.
    """
    value = headers.get("Upload-Metadata", "").strip()
    if len(value) > _METADATA_MAX:
        message = f"Upload-Metadata is longer than {_METADATA_MAX} bytes"
        raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
    read_metadata(value)
    return value


def read_metadata(value: str) -> dict[str, bytes]:
    """Decode an ``Upload-Metadata`` value.

    Raises:
        Refusal: 400 when it is malformed.
    """
    pairs: dict[str, bytes] = {}
    for pair in value.split(",") if value else []:
        key, _, encoded = pair.strip().partition(" ")
        if not _METADATA_KEY.fullmatch(key) or key in pairs:
            raise bad("Upload-Metadata has an empty, malformed or repeated key")
        try:
            pairs[key] = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise bad("Upload-Metadata has a value that is not base64") from error
    return pairs


def checksum(headers: Headers) -> tuple[Digest, bytes] | None:
    """Read ``Upload-Checksum``: a hash to feed and what it must come to.

    Raises:
        Refusal: 400 when it is malformed or the algorithm is not offered.
    """
    value = headers.get("Upload-Checksum")
    if value is None:
        return None
    algorithm, _, encoded = value.partition(" ")
    if algorithm not in CHECKSUMS:
        raise bad(f"checksum algorithms are {', '.join(CHECKSUMS)}")
    digest = CHECKSUMS[algorithm]()
    try:
        wanted = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise bad("Upload-Checksum is not base64") from error
    if len(wanted) != len(digest.digest()):
        raise bad(f"Upload-Checksum is not a {algorithm} digest")
    return digest, wanted

"""The tus resumable upload protocol 1.0.0: core and all its extensions but creation-with-upload.

Source of every rule: the protocol text at version 1.0.0 (tus.io/protocols/resumable-upload), and where servers
are known to stray from it the tolerance is named beside the line that needs it.

A lane is one upload resource. The caller keeps the URL and the offset; these conversations only ask and tell.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from ..faults import Gone, Intercepted, Nonsense, Refused
from ..model import Capabilities, Span, Standing
from .address import relative_to, resolve
from .message import LONG_REPLY_WAIT_S, REPLY_WAIT_S, Body, Conversation, Request, Response
from .replies import digits, fault_of, http_date, non_negative

if TYPE_CHECKING:
    from ..redaction import Secret

VERSION: Final = "1.0.0"
OFFSET_MEDIA_TYPE: Final = "application/offset+octet-stream"
OWN_HEADERS: Final = re.compile(  # what says where bytes go and how many they are: nobody else may send another
    r"(?:upload|tus)-.*|content-(?:length|type)|transfer-encoding|idempotency-key|host", re.IGNORECASE
)
OWN_METADATA: Final = ("filename", "filetype")
CHECKSUMS: Final = ("xxh3-128", "sha256", "sha1")  # what we can compute, best first

Headers = tuple[tuple[str, str], ...]

_RESUMABLE: Final[Headers] = (("Tus-Resumable", VERSION),)
QUESTION_WAIT_S: Final = 15.0  # what a server offers it knows at once, and asking again costs nothing
JOIN_WAIT_S: Final = 3600.0  # a server may copy every byte: 50 GB take ten minutes at 80 MB/s
_LONG_HEADER_BYTES: Final = 4096  # half of the 8 KiB that common servers allow one header line
_NOT_HERE: Final = frozenset({404, 405})


class Checksum(Struct, frozen=True):
    """An Upload-Checksum value: the algorithm's name and the raw digest of exactly one request's payload."""

    algorithm: str
    digest: bytes

    def header(self) -> tuple[str, str]:
        """The header that carries it (checksum extension)."""
        return "Upload-Checksum", f"{self.algorithm} {base64.b64encode(self.digest).decode()}"


class Created(Struct, frozen=True):
    """A fresh upload resource."""

    url: Secret
    expires_at: float | None = None


def discover(creation_url: str) -> Conversation[Capabilities | None]:
    """What the server at `creation_url` offers, or None if it does not speak tus.

    OPTIONS carries no Tus-Resumable. Some frameworks route only one form of the path, so a 404, a 405 or a redirect to
    that form is asked again with the trailing slash toggled. A reply without any tus header is “not supported”, never
    an error; but any other redirect or a page of HTML is somebody else's (a captive portal's), and decides nothing.

    Raises:
        Unauthorized: 401. (403 is what some gateways say of any path they do not know.)
        Fault: nothing was learnt; ask again.
    """
    toggled = creation_url[:-1] if creation_url.endswith("/") else f"{creation_url}/"
    doing = "the question what it offers"
    for url in (creation_url, toggled):
        response = yield Request("OPTIONS", url, reply_wait_s=QUESTION_WAIT_S)
        if response.ok and response.is_page:
            raise Intercepted(f"{doing} was answered by a page for people ({response.status})")
        found = _capabilities(response, url)
        if found is not None or not (response.status in _NOT_HERE or _leads_to(toggled, url, response)):
            break
    if found is None and not response.ok:
        fault = fault_of(response, doing)
        if not isinstance(fault, (Refused, Gone)) and response.status != 403:  # noqa: PLR2004 - Forbidden
            raise fault
    return found


def _leads_to(other: str, url: str, response: Response) -> bool:
    location = response.headers.get("location", "")
    if not 300 <= response.status < 400 or not location:  # noqa: PLR2004 - redirects
        return False
    try:
        return resolve(url, location).reveal() == other
    except Nonsense:
        return False


def create(  # noqa: PLR0913 - keyword-only: what a creation says
    creation_url: str,
    *,
    size_bytes: int | None,
    filename: str,
    media_type: str,
    partial: bool = False,
    headers: Headers = (),
    extra_metadata: tuple[tuple[str, str], ...] = (),
) -> Conversation[Created]:
    """Make an upload of `size_bytes`, or of a length told later (None, needs creation-defer-length).

    A `partial` upload (concatenation extension) is only good for being joined with others.

    Both `filename` and `filetype` always go along: a server is known that cannot HEAD an upload lacking either.
    A 400 is tried once more with an ASCII file name, which another server insists on.

    Raises:
        Fault: the server refused, or its reply is not that of a creation.
    """
    length = ("Upload-Defer-Length", "1") if size_bytes is None else ("Upload-Length", str(size_bytes))
    kind = (("Upload-Concat", "partial"),) if partial else ()
    descriptions = _descriptions(filename, media_type, extra_metadata)
    return (yield from _post(creation_url, (length, *kind, *headers), descriptions, "the creation of an upload"))


def join(
    creation_url: str,
    parts: tuple[Secret, ...],
    *,
    filename: str,
    media_type: str,
    headers: Headers = (),
    extra_metadata: tuple[tuple[str, str], ...] = (),
) -> Conversation[Created]:
    """Make the final upload that is `parts` (partial uploads, all complete) in this order.

    Not idempotent in itself: where the server knows Idempotency-Key, send one. Names of the server's own origin go
    without it once the header would grow past what servers and proxies take in one line.

    Raises:
        Gone: a part is no longer there, or the server does not join.
        Fault: the server refused, or its reply is not that of a creation.
    """
    names = [part.reveal() for part in parts]
    if sum(map(len, names)) > _LONG_HEADER_BYTES:
        names = [relative_to(creation_url, name) for name in names]
    concat = ("Upload-Concat", f"final;{' '.join(names)}")
    descriptions = _descriptions(filename, media_type, extra_metadata)
    return (yield from _post(creation_url, (concat, *headers), descriptions, "the joining of the lanes", JOIN_WAIT_S))


def _post(
    creation_url: str, headers: Headers, descriptions: tuple[str, ...], doing: str, reply_wait_s: float = REPLY_WAIT_S
) -> Conversation[Created]:
    for description in descriptions:
        response = yield Request(
            "POST",
            creation_url,
            (*_RESUMABLE, ("Upload-Metadata", description), *headers),
            reply_wait_s=reply_wait_s,
        )
        if response.status != 400:  # noqa: PLR2004 - Bad Request
            break
    if not response.ok:
        raise fault_of(response, doing)
    location = response.headers.get("location")
    if not location:
        raise Nonsense(f"the server answered {response.status} to {doing} without a Location")
    return Created(resolve(creation_url, location), _expiry(response))


def _descriptions(filename: str, media_type: str, extra: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Upload-Metadata as it should be, then with an ASCII file name where that is another."""
    names = dict.fromkeys((filename, ascii_name(filename)))
    return tuple(metadata((("filename", name), ("filetype", media_type), *extra)) for name in names)


def locate(url: Secret, *, headers: Headers = ()) -> Conversation[Standing]:
    """Where the upload stands: the server's offset is the only truth after any doubt.

    Raises:
        Gone: 404 or 410, and 403, which the protocol allows a server to say instead.
        Nonsense: a 2xx without a valid Upload-Offset.
    """
    return _standing((yield from _found(url, headers)), "a HEAD of the upload")


def locate_joined(url: Secret, *, headers: Headers = ()) -> Conversation[Standing | None]:
    """Where a final upload stands; None while bytes of its parts are missing (no Upload-Offset until they are there).

    Raises:
        Gone: as `locate`; also when one of its parts is gone.
        Nonsense: as `locate`.
    """
    response = yield from _found(url, headers)
    if response.ok and "upload-offset" not in response.headers and "upload-concat" in response.headers:
        return None
    return _standing(response, "a HEAD of the joined upload")


def _found(url: Secret, headers: Headers) -> Conversation[Response]:
    response = yield Request("HEAD", url, (*_RESUMABLE, ("Cache-Control", "no-cache"), *headers))
    if response.status == 403:  # noqa: PLR2004 - Forbidden
        raise Gone("the server says that the upload is not there (403)")
    return response


def append(
    url: Secret,
    span: Span,
    offset_bytes: int,
    *,
    declare_bytes: int | None = None,
    checksum: Checksum | None = None,
    headers: Headers = (),
) -> Conversation[Standing]:
    """Send `span` of the artifact at the upload's `offset_bytes`; the answer's offset is where it stands.

    `declare_bytes` tells the final length of an upload made without one; an empty span with it only tells.
    The new offset may be short of what was sent (a server that was interrupted says so with 204): it, not
    our arithmetic, is the result.

    Raises:
        Conflict: the server's offset is another.
        Corrupted: the checksum did not hold; the server kept nothing of this payload.
        Nonsense: a success without an offset, of which the server knows nothing when it is asked.
        Fault: anything else that is not a success.
    """
    extra: list[tuple[str, str]] = []
    if declare_bytes is not None:
        extra.append(("Upload-Length", str(declare_bytes)))
    if checksum is not None:
        extra.append(checksum.header())
    response = yield Request(
        "PATCH",
        url,
        (*_RESUMABLE, ("Upload-Offset", str(offset_bytes)), ("Content-Type", OFFSET_MEDIA_TYPE), *extra, *headers),
        Body(span=span),
        reply_wait_s=LONG_REPLY_WAIT_S,
    )
    if response.ok and not response.is_page and "upload-offset" not in response.headers:
        found = yield from locate(url, headers=headers)  # a success that does not say of how much
        if found.offset_bytes > offset_bytes or not span.size_bytes:
            return found
    return _standing(response, "an append to the upload")


def terminate(url: Secret, *, headers: Headers = ()) -> Conversation[None]:
    """Tell the server that the upload is not wanted any more.

    Absent already, or no termination offered (405, 501): both leave nothing for us to do.

    Raises:
        Fault: the request may be repeated.
    """
    response = yield Request("DELETE", url, (*_RESUMABLE, *headers))
    if response.ok or response.status in {404, 405, 410, 501}:
        return
    raise fault_of(response, "the removal of the upload")


def metadata(pairs: tuple[tuple[str, str], ...]) -> str:
    """Upload-Metadata: `key base64(value)`, comma-joined, padded standard base64; empty values keep the key only.

    Raises:
        ValueError: a key is empty, not ASCII, or holds a space or comma.
    """
    words = []
    for key, value in pairs:
        if not key or not key.isascii() or not key.isprintable() or " " in key or "," in key:
            raise ValueError(f"not a metadata key: {key!r}")
        encoded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
        words.append(f"{key} {encoded}".rstrip())
    return ",".join(words)


def ascii_name(name: str) -> str:
    """The nearest printable ASCII file name, for servers that take no other."""
    decomposed = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    printable = "".join(char if char.isprintable() else "_" for char in decomposed).strip()
    return printable or "recording"


def _capabilities(response: Response, url: str) -> Capabilities | None:
    headers = response.headers
    if not response.ok or not any(name in headers for name in ("tus-resumable", "tus-version", "tus-extension")):
        return None
    versions = _words(headers.get("tus-version", VERSION))
    if VERSION not in versions:
        return None
    return Capabilities(
        extensions=frozenset(_words(headers.get("tus-extension", ""))),
        max_size_bytes=digits(headers.get("tus-max-size", "")),
        checksum_algorithms=_words(headers.get("tus-checksum-algorithm", "")),
        creation_url=url,
    )


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value.split(",") if word.strip())


def _standing(response: Response, doing: str) -> Standing:
    if not response.ok:
        raise fault_of(response, doing)
    offset = non_negative(response.headers, "upload-offset")
    if offset is None:
        raise Nonsense(f"the server answered {response.status} to {doing} without an Upload-Offset")
    length = non_negative(response.headers, "upload-length")
    deferred = length is None and response.headers.get("upload-defer-length") == "1"
    return Standing(offset, length, _expiry(response), deferred=deferred)


def _expiry(response: Response) -> float | None:
    return http_date(response.headers.get("upload-expires", ""))

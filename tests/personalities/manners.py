"""Servers that cannot be had here, and single bad manners, each as a personality.

What they do follows their documentation and, for tusd, its source (2.x).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

from tests.personalities.server import Personality, Reply, Upload

if TYPE_CHECKING:
    from tests.personalities.server import Asked

KIB: Final = 1 << 10
MIB: Final = 1 << 20
PAGE: Final = b"<!doctype html><title>Welcome</title><p>Please accept our terms."


class Tusd(Personality):
    """Says `ERR_…` for what passes: locks, interruptions, a shutdown; with 4xx for some of it."""

    mimics = "tusd"
    append_faults: ClassVar[dict[int, tuple[int, str]]] = {
        1: (400, "ERR_UPLOAD_INTERRUPTED: upload has been interrupted by another request for this upload resource"),
        2: (503, "ERR_SERVER_SHUTDOWN: request has been interrupted because the server is shutting down"),
        3: (423, "ERR_FILE_LOCKED: file currently locked"),
        4: (500, "ERR_READ_TIMEOUT: timeout while reading request body"),
        5: (400, "ERR_UNEXPECTED_EOF: server expected to receive more bytes"),
    }
    head_faults: ClassVar[dict[int, tuple[int, str]]] = {
        1: (500, "ERR_LOCK_TIMEOUT: failed to acquire lock before timeout"),
        2: (423, "ERR_FILE_LOCKED: file currently locked"),
    }

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """Each of the first appends ends in one of these, with half of its bytes kept."""
        fault = self.append_faults.get(self.seen["PATCH"])
        if fault is None:
            return super().take(asked, upload)
        asked.keep(upload.content, asked.length_bytes // 2)
        return Reply(fault[0], body=f"{fault[1]}\n".encode(), hang_up=True)

    def stand(self, asked: Asked) -> Reply:
        """The first questions meet the lock."""
        fault = self.head_faults.get(self.seen["HEAD"])
        return super().stand(asked) if fault is None else Reply(fault[0], body=f"{fault[1]}\n".encode())


class Cloudflare(Personality):
    """Takes appends of a multiple of 256 KiB and of at least 5 MiB, but for the last."""

    mimics = "Cloudflare Stream"
    options = ("--request-size", "5MiB")

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """Its rule of sizes."""
        last = upload is not None and len(upload.content) + asked.length_bytes == upload.length_bytes
        if not last and (asked.length_bytes % (256 * KIB) or asked.length_bytes < 5 * MIB):
            return Reply(400, body=b'{"success": false, "errors": [{"code": 10005, "message": "Bad chunk size"}]}')
        return super().refuse(asked, upload)


class Supabase(Personality):
    """Takes appends of exactly 6 MiB but for the last, knows its own metadata alone, and says 409 for a lock."""

    mimics = "Supabase Storage"
    options = ("--request-size", "6MiB", "--metadata", "bucketName=talks", "--metadata", "objectName=a/talk.ogg")

    def create(self, asked: Asked) -> Reply:
        """An upload goes into a bucket."""
        given = asked.headers.get("upload-metadata", "")
        if "bucketName dGFsa3M=" not in given or "objectName YS90YWxrLm9nZw==" not in given:
            return Reply(400, body=b"bucketName and objectName are required")
        return super().create(asked)

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """Its rule of sizes, after the lock that an earlier request still holds."""
        if self.seen["PATCH"] == 2:
            return Reply(409, body=b"could not acquire the lock")
        last = upload is not None and len(upload.content) + asked.length_bytes == upload.length_bytes
        if not last and asked.length_bytes != 6 * MIB:
            return Reply(413, body=b"chunks must be 6 MiB")
        return super().refuse(asked, upload)


class Vimeo(Personality):
    """Makes no uploads by tus: its own interface gave out an upload's URL before."""

    mimics = "Vimeo"
    options = ("--upload-url", "URL")
    extensions = ""

    def __init__(self) -> None:
        super().__init__()
        self.uploads["u1"] = Upload(self.announced_bytes, "")

    def create(self, asked: Asked) -> Reply:
        """Not here."""
        asked.drain()
        return Reply(405)


class OtherHost(Personality):
    """Its uploads are on another host, under addresses that need no key, and must be given none."""

    mimics = "direct creator uploads"

    def location(self, upload_id: str) -> str:
        """Elsewhere."""
        return f"{self.elsewhere}/tus/{upload_id}?tusv2=true"


class StaleHead(Personality):
    """After a connection broke in an append it tells the offset of before, once."""

    mimics = "tuspyserver; a cache on the way"

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """The first append breaks off half way, and what came is kept."""
        if self.seen["PATCH"] > 1:
            return super().take(asked, upload)
        asked.keep(upload.content, asked.length_bytes // 2)
        return Reply(0)

    def stand(self, asked: Asked) -> Reply:
        """A cache between us answers the first question."""
        reply = super().stand(asked)
        return Reply(200, {**reply.headers, "Upload-Offset": "0"}) if self.seen["HEAD"] == 1 else reply


class OffsetGoesBack(Personality):
    """Loses bytes that it had acknowledged, as a server does whose disk was not told to keep them."""

    mimics = "uploadx after a 460"

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """Before the second append it is back at a half of the first."""
        if upload is not None and self.seen["PATCH"] == 2:
            del upload.content[len(upload.content) // 2 :]
        return super().refuse(asked, upload)


class Short204(Personality):
    """Takes half of every append that is larger than 64 KiB, and says so with 204."""

    mimics = "@tus/server; the case that upchunk sends whole again"

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """Half of it, then the answer and the end of the connection."""
        most = asked.length_bytes // 2 if asked.length_bytes > 64 * KIB else asked.length_bytes
        asked.keep(upload.content, most)
        asked.keep(bytearray(), asked.length_bytes - most)
        return Reply(204, {"Upload-Offset": str(len(upload.content))})


class NoOffset(Personality):
    """Answers appends by 204 without Upload-Offset."""

    mimics = "a gateway that drops headers it does not know"

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """All of it, and no word of where it stands."""
        super().take(asked, upload)
        return Reply(204)


class NoVersion(Personality):
    """Never says Tus-Resumable but in OPTIONS."""

    mimics = "tuspyserver's refusals"

    def dressed(self, reply: Reply) -> dict[str, str]:
        """As little as possible."""
        return dict(reply.headers)


class HttpLocation(Personality):
    """Is reached by https, and thinks that it is http: the proxy before it did not tell."""

    mimics = "@tus/server behind TLS"
    tls = True

    def location(self, upload_id: str) -> str:
        """Its own address as it sees it."""
        return f"{self.origin.replace('https://', 'http://')}/files/{upload_id}"


class ProtocolRelative(Personality):
    """Its Location begins with `//`."""

    mimics = "uploadx"

    def location(self, upload_id: str) -> str:
        """A host and a path."""
        return f"{self.origin.removeprefix('http:')}/files/{upload_id}"


class GoneWhenDone(Personality):
    """Moves a finished upload away: its URL answers 404 from then on."""

    mimics = "tussi"

    def __init__(self) -> None:
        super().__init__()
        self.moved: dict[str, Upload] = {}

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """After the last byte the upload is elsewhere."""
        reply = super().take(asked, upload)
        if len(upload.content) == upload.length_bytes:
            name = next(name for name, one in self.uploads.items() if one is upload)
            self.moved[name] = self.uploads.pop(name)
        return reply


class CaptivePortal(Personality):
    """Now and then somebody else answers every request by a page and 200."""

    mimics = "a hotel's network"

    intruded: ClassVar[frozenset[int]] = frozenset({1, 3, 5, 6, 8})

    def answer(self, asked: Asked) -> Reply:
        """The page, whatever was asked."""
        if len(self.asked) + 1 in self.intruded:
            self.asked.append(asked)
            asked.drain()
            return Reply(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE)
        return super().answer(asked)


class Redirecting(CaptivePortal):
    """Now and then somebody redirects a request to another host, in each of the ways there are."""

    mimics = "a hotel's network"

    statuses: ClassVar[dict[int, int]] = {1: 302, 3: 307, 5: 308, 6: 301, 8: 303}

    def answer(self, asked: Asked) -> Reply:
        """Elsewhere, if that is believed."""
        status = self.statuses.get(len(self.asked) + 1)
        reply = super().answer(asked)
        return reply if status is None else Reply(status, {"Location": f"{self.elsewhere}{asked.path}"})


class SmallRequests(Personality):
    """A proxy before it takes requests of at most 100 KiB; it says 413 in HTML and keeps nothing."""

    mimics = "nginx with `client_max_body_size 100k`"

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """Its limit."""
        if asked.length_bytes > 100 * KIB:
            return Reply(413, {"Content-Type": "text/html"}, b"<h1>413 Request Entity Too Large</h1>")
        return super().refuse(asked, upload)


class Damaged(Personality):
    """Finds the checksum of two appends wrong, by 460, which are right when they come again."""

    mimics = "a link that damages data"
    options = ("--checksum",)
    extensions = "creation,checksum"

    def offer(self) -> Reply:
        """With the algorithms."""
        reply = super().offer()
        return Reply(204, {**reply.headers, "Tus-Checksum-Algorithm": "sha1,md5"})

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """Every other append is damaged on the way, for a while."""
        if not asked.headers.get("upload-checksum", "").startswith("sha1 "):
            return Reply(400)
        if self.seen["PATCH"] in {1, 3}:
            return Reply(460)
        return super().refuse(asked, upload)


class Forgetful(Personality):
    """Says 404 to the first append and to the first question: the upload is not everywhere yet."""

    mimics = "a store that is consistent in the end"

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """The first append comes too early."""
        return Reply(404) if self.seen["PATCH"] == 1 else super().refuse(asked, upload)

    def stand(self, asked: Asked) -> Reply:
        """So does the question after it."""
        return Reply(404) if self.seen["HEAD"] == 1 else super().stand(asked)


class Vanishing(Personality):
    """Loses an unfinished upload for good when a connection breaks in it."""

    mimics = "a store that expires; the case that tus-js-client 5.0.0-pre2 fails"

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """The second append breaks off, and nothing of the upload is left."""
        if self.seen["PATCH"] != 2:
            return super().take(asked, upload)
        asked.keep(upload.content, asked.length_bytes // 2)
        self.uploads.clear()
        return Reply(0)


class ClaimsMore(Personality):
    """Says that it has bytes which were never sent: somebody else wrote into the upload."""

    mimics = "google-cloud-swift#861"

    def take(self, asked: Asked, upload: Upload) -> Reply:
        """The first append breaks off, and a stranger's bytes follow it."""
        if self.seen["PATCH"] > 1:
            return super().take(asked, upload)
        asked.keep(upload.content, asked.length_bytes // 2)
        upload.content += bytes(8 * MIB)
        return Reply(0)

    def create(self, asked: Asked) -> Reply:
        """What is left behind for a new one expires."""
        self.uploads.clear()
        return super().create(asked)


class Throttling(Personality):
    """Answers every second append by 429, more often than a client has patience that counts."""

    mimics = "Uppy's fifth 429"

    def refuse(self, asked: Asked, upload: Upload | None) -> Reply | None:
        """Come back at once, please."""
        if self.seen["PATCH"] < 12 and self.seen["PATCH"] % 2:
            return Reply(429, {"Retry-After": "0"})
        return super().refuse(asked, upload)


class SlowJoin(Personality):
    """Joins lanes, and takes its time before it says so."""

    mimics = "owncloud/core#32217"
    extensions = "creation,concatenation"
    taken_s: ClassVar[float] = 3.0

    def join(self, urls: list[str], metadata: str) -> Reply:
        """As a server that copies tens of gigabytes; a client without patience would make it join twice."""
        time.sleep(self.taken_s)
        return super().join(urls, metadata)


class WillNotJoin(Personality):
    """Says that it joins lanes, and refuses to when it is asked."""

    mimics = "a server that advertises too much"
    extensions = "creation,concatenation"

    def join(self, urls: list[str], metadata: str) -> Reply:
        """No."""
        del urls, metadata
        return Reply(400, body=b"invalid Upload-Concat header")


PERSONALITIES: Final[tuple[type[Personality], ...]] = (
    Tusd,
    Cloudflare,
    Supabase,
    Vimeo,
    OtherHost,
    StaleHead,
    OffsetGoesBack,
    Short204,
    NoOffset,
    NoVersion,
    HttpLocation,
    ProtocolRelative,
    GoneWhenDone,
    CaptivePortal,
    Redirecting,
    SmallRequests,
    Damaged,
    Forgetful,
    Vanishing,
    ClaimsMore,
    Throttling,
    SlowJoin,
    WillNotJoin,
)

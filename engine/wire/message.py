"""What a conversation says and hears: requests that name spans of the artifact, and whole responses."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from msgspec import Struct

from ..faults import Intercepted, Nonsense

if TYPE_CHECKING:
    from ..model import Span
    from ..redaction import Secret

T = TypeVar("T")

REPLY_WAIT_S: Final = 60.0  # tusd holds a HEAD for up to 20 s, @tus/server for 3 s; a lock may add as much
LONG_REPLY_WAIT_S: Final = 900.0  # a server may hash or join a very large upload before it answers


class Body(Struct, frozen=True):
    """A request's payload: literal bytes around one span of the artifact, never the artifact's bytes."""

    before: bytes = b""
    span: Span | None = None
    after: bytes = b""

    @property
    def size_bytes(self) -> int:
        """The Content-Length."""
        return len(self.before) + (self.span.size_bytes if self.span else 0) + len(self.after)


EMPTY: Final = Body()


class Request(Struct, frozen=True):
    """One request. `final_byte_commits` marks a request whose last byte may create a job on the server.

    A URL that grants something (an upload's own) is a `Secret`; the service's public ones are text.
    """

    method: str
    url: Secret | str
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = EMPTY
    reply_wait_s: float = REPLY_WAIT_S
    final_byte_commits: bool = False


class Response(Struct, frozen=True):
    """One whole reply. Header names are lower case.

    `sent_all` is False where the server answered before the whole request had left.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    sent_all: bool = True

    @property
    def ok(self) -> bool:
        """Any 2xx: servers differ in which one they choose."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of success, RFC 9110 section 15.3

    def json_object(self) -> dict[str, object]:
        """The body as a JSON object.

        Raises:
            Nonsense: it is something else, such as a captive portal's page.
        """
        value = _parsed(self.body)
        if value is None and self.is_page:
            message = f"the reply ({self.status}) is a page for people, not the service's"
            raise Intercepted(message, sent_all=self.sent_all)
        if value is None:
            message = f"the reply ({self.status}) is not JSON: {excerpt(self.body)}"
            raise Nonsense(message, sent_all=self.sent_all)
        if not isinstance(value, dict):
            message = f"the reply ({self.status}) is not a JSON object: {excerpt(self.body)}"
            raise Nonsense(message, sent_all=self.sent_all)
        return value

    @property
    def is_page(self) -> bool:
        """Whether it is HTML, which no call of ours is answered with."""
        return self.headers.get("content-type", "").lower().startswith("text/html")


Conversation: TypeAlias = Generator[Request, Response, T]


def excerpt(body: bytes, limit: int = 120) -> str:
    """The beginning of a body, on one line, fit for a message."""
    text = " ".join(body[: limit * 2].decode("utf-8", "replace").split())
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return f"“{printable[:limit]}{'…' if len(printable) > limit else ''}”" if printable else "an empty body"


def _parsed(body: bytes) -> object:
    """What the JSON says; None also where it is none. The parser's own error would keep all of a long body alive."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None

"""Drives conversations: the one place where a request becomes traffic. The only importer of httpx.

An exchange either returns a whole `Response` or raises a `Fault`; it never retries. A request's span is read from the
artifact piece by piece, so memory stays flat, and every piece has a write deadline of its own.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import sys
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import anyio
import httpx

from ..errors import ConfigError, InternalError
from ..faults import Fault, Interrupted, Nonsense, Offline, Unreachable
from ..redaction import Secret, scrub
from ..wire.address import origin
from ..wire.message import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from ..model import Span
    from ..wire.message import Conversation, Request
    from .clock import Clock

T = TypeVar("T")
log = logging.getLogger("speechstream.http")

CONNECT_WAIT_S: Final = 15.0  # three SYNs (1 + 3 + 7 s, RFC 6298) and a TLS handshake on a bad link
WRITE_WAIT_S: Final = 60.0  # for one piece of at least 64 KiB: under 1.1 kB/s nothing useful moves
DEAD_PEER_S: Final = 45.0  # sent data unacknowledged for so long: the path is gone (RFC 5482)
IDLE_CONNECTION_S: Final = 3.0  # servers close idle connections from 5 s on; a request must never meet that moment
FIRST_PIECE_BYTES: Final = 64 << 10
LARGEST_PIECE_BYTES: Final = 1 << 20  # asyncio moves 1 MiB writes four times as fast as 64 KiB ones
QUICK_PIECE_S: Final = 0.05
MAX_REPLY_BYTES: Final = 16 << 20  # a day of speech is 1.5 MB of text; more than this is not for us
_OFFLINE: Final = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


class Payload(Protocol):
    """Where a span's bytes come from."""

    async def read(self, offset: int, size_bytes: int) -> bytes:
        """Exactly the bytes asked for, or an error that says why not."""


@dataclass(slots=True)
class Watch:
    """What the sender of a request wants to know and to have done while it is on its way."""

    on_sent: Callable[[int], None] | None = None
    before_final_byte: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers that go to one origin and nowhere else."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)


class Brake:
    """One throttle for all workers: a 429 to any of them holds them all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s = 0.0

    def hold(self, seconds: float) -> None:
        """Let no request go for so long."""
        self._until_s = max(self._until_s, self._clock.monotonic() + seconds)

    async def passed(self) -> None:
        """Wait until requests may go again."""
        while (left := self._until_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(left)


class Exchanger:
    """An HTTP client for conversations. Close it with `aclose`."""

    def __init__(self, clock: Clock, *, user_agent: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.brake = Brake(clock)
        self._clock = clock
        self._credentials: dict[tuple[str, str, int], Credentials] = {}
        try:
            self._client = httpx.AsyncClient(
                transport=transport or _transport(),
                timeout=httpx.Timeout(WRITE_WAIT_S, connect=CONNECT_WAIT_S),
                limits=httpx.Limits(keepalive_expiry=IDLE_CONNECTION_S),
                headers={"User-Agent": user_agent, "Accept-Encoding": "identity", "Accept": "application/json, */*"},
            )
        except (ImportError, ValueError) as error:  # what httpx makes of a proxy it cannot use
            raise ConfigError(
                f"The proxy that the environment names cannot be used: {scrub(str(error))}",
                hint="unset ALL_PROXY, HTTP_PROXY and HTTPS_PROXY, or name an http:// proxy",
            ) from error
        _keep_addresses_out_of_logs()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def authorize(self, credentials: Credentials) -> None:
        """Send these headers with every request to their origin from now on, instead of what was sent there before."""
        self._credentials[origin(credentials.url)] = credentials

    async def converse(
        self, conversation: Conversation[T], payload: Payload | None = None, watch: Watch | None = None
    ) -> T:
        """Run a conversation to its result.

        Raises:
            Fault: an exchange did not count and the conversation had no answer to that.
        """
        try:
            request = next(conversation)
            while True:
                try:
                    response = await self._exchange(request, payload, watch or Watch())
                except Fault as fault:
                    request = conversation.throw(fault)
                else:
                    request = conversation.send(response)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            conversation.close()

    async def _exchange(self, request: Request, payload: Payload | None, watch: Watch) -> Response:
        await self.brake.passed()
        url = request.url.reveal() if isinstance(request.url, Secret) else request.url
        sending = _Sending(request, payload, watch, self._clock)
        headers = [*request.headers, ("Content-Length", str(request.body.size_bytes)), *self._credentials_for(url)]
        started_s = self._clock.monotonic()
        try:
            outgoing = self._client.build_request(
                request.method,
                url,
                headers=headers,
                content=sending.pieces() if request.body.size_bytes else None,
                timeout=httpx.Timeout(WRITE_WAIT_S, connect=CONNECT_WAIT_S, read=request.reply_wait_s),
            )
            reply = await self._client.send(outgoing, stream=True, follow_redirects=False)
            try:
                with anyio.fail_after(request.reply_wait_s):
                    body = await _read_body(reply)
            finally:
                await reply.aclose()
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigError(f"The address cannot be used: {scrub(str(error))}") from error
        except httpx.LocalProtocolError as error:
            # its text may quote a header's value, so it is not passed on
            raise InternalError(f"The request {request.method} {scrub(url)} cannot be sent as it is") from error
        except (httpx.HTTPError, httpx.StreamError, TimeoutError, OSError) as error:
            raise _fault(error, sending.all_sent) from error
        log.debug(
            "%s %s %d in %.3f s", request.method, scrub(url), reply.status_code, self._clock.monotonic() - started_s
        )
        return Response(reply.status_code, _plain(reply.headers), body, sending.all_sent)

    def _credentials_for(self, url: str) -> tuple[tuple[str, str], ...]:
        try:
            found = self._credentials.get(origin(url))
        except ValueError as error:
            raise ConfigError(f"The address cannot be used: {scrub(str(error))}") from error
        return found.headers if found else ()


class _Sending:
    """The body of one request as it leaves; knows how much has."""

    def __init__(self, request: Request, payload: Payload | None, watch: Watch, clock: Clock) -> None:
        self._body = request.body
        self._commits = request.final_byte_commits
        self._payload = payload
        self._watch = watch
        self._clock = clock
        self.all_sent = request.body.size_bytes == 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The payload's bytes, in pieces that grow while they go quickly."""
        left = self._body.size_bytes
        async for piece in self._all():
            left -= len(piece)
            if left == 0:
                if self._commits and self._watch.before_final_byte is not None:
                    await self._watch.before_final_byte()
                self.all_sent = True
            yield piece

    async def _all(self) -> AsyncIterator[bytes]:
        if self._body.before:
            yield self._body.before
        if self._body.span is not None and self._body.span.size_bytes:
            async for piece in self._span(self._body.span):
                yield piece
        if self._body.after:
            yield self._body.after

    async def _span(self, span: Span) -> AsyncIterator[bytes]:
        if self._payload is None:
            raise RuntimeError("a request with a span needs a payload")
        offset, size = span.start, FIRST_PIECE_BYTES
        while offset < span.stop:
            piece = await self._payload.read(offset, min(size, span.stop - offset))
            started_s = self._clock.monotonic()
            yield piece
            offset += len(piece)
            if self._watch.on_sent is not None:
                self._watch.on_sent(len(piece))
            if self._clock.monotonic() - started_s < QUICK_PIECE_S:
                size = min(size * 2, LARGEST_PIECE_BYTES)
            else:
                size = max(size // 2, FIRST_PIECE_BYTES)


async def _read_body(reply: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in reply.aiter_raw():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise Nonsense(f"the reply ({reply.status_code}) is longer than {MAX_REPLY_BYTES >> 20} MiB", sent_all=True)
    return bytes(body)


def _plain(headers: httpx.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _fault(error: Exception, all_sent: bool) -> Fault:  # noqa: FBT001 - the one fact that decides ambiguity
    """The fault that a transport error stands for."""
    roots = list(_system_errors(error))
    what = scrub(_words_of(roots[-1]) if roots else str(error)) or type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        if roots and all(_is_offline(root) for root in roots):
            return Offline(f"there is no network ({what})")
        return Unreachable(f"the server cannot be reached ({what})")
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return Interrupted("the connection fell silent", sent_all=all_sent)
    return Interrupted(f"the connection broke ({what})", sent_all=all_sent)


def _system_errors(error: BaseException) -> Iterator[OSError]:
    """What the system said, beneath what the libraries made of it: one error for each address that was tried."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _system_errors(member)
        return
    beneath = error.__cause__ or error.__context__
    found = list(_system_errors(beneath)) if beneath is not None else []
    if not found and isinstance(error, OSError) and error.errno:
        found = [error]
    yield from found


def _words_of(error: OSError) -> str:
    if isinstance(error, (socket.gaierror, ssl.SSLError)) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _is_offline(error: OSError) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return not isinstance(error, ssl.SSLError) and error.errno in _OFFLINE


def _transport() -> httpx.AsyncBaseTransport | None:
    """Connections that notice a dead peer; the library's own where the environment asks for a proxy."""
    if urllib.request.getproxies().keys() - {"no"}:
        return None
    options: list[tuple[int, int, int]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if sys.platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_PEER_S * 1000)),
        ]
    return httpx.AsyncHTTPTransport(socket_options=options)


class _Scrubbing(logging.Filter):
    """Takes secrets out of what httpx logs when the host program turns its logging on."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), ()
        return True


def _keep_addresses_out_of_logs() -> None:
    for name in ("httpx", "httpcore.http11", "httpcore.connection"):
        logger = logging.getLogger(name)
        if not any(isinstance(present, _Scrubbing) for present in logger.filters):
            logger.addFilter(_Scrubbing())

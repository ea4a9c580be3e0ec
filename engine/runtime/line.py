"""One connection at a time to wherever its requests go: the one place where a request becomes traffic.

The only importer of httpx, by its public interface alone. An exchange either returns a whole `Response` or raises a
`Fault`; it never retries. A line carries one conversation at a time, so its one connection is always known: httpx
tells of it through the `trace` extension.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import anyio
import httpx

from ..errors import ConfigError, InternalError
from ..faults import Fault, Interrupted, Nonsense, Offline, Unreachable
from ..redaction import Secret, scrub
from ..wire.address import origin
from ..wire.message import Response
from .sending import Outgoing, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..wire.message import Conversation, Request
    from .brake import Brake
    from .clock import Clock
    from .sending import Payload

T = TypeVar("T")
Transport: TypeAlias = httpx.AsyncBaseTransport
log = logging.getLogger("speechstream.http")

CONNECT_WAIT_S: Final = 15.0  # three SYNs (1 + 3 + 7 s, RFC 6298) and a TLS handshake on a bad link
WRITE_WAIT_S: Final = 60.0  # for one piece of at least 64 KiB: under 1.1 kB/s nothing useful moves
DEAD_PEER_S: Final = 45.0  # sent data unacknowledged for so long: the path is gone (RFC 5482)
IDLE_CONNECTION_S: Final = 3.0  # servers close idle connections from 5 s on; a request must never meet that moment
MAX_REPLY_BYTES: Final = 16 << 20  # a day of speech is 1.5 MB of text; more than this is not for us
_OFFLINE: Final = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})
_CONNECTED: Final = "connection.connect_tcp.complete"  # httpcore's name for the event that brings a new connection


class _Stream(Protocol):
    def get_extra_info(self, info: str) -> object:
        """What is known of the connection beneath."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers that go to one origin and nowhere else."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all lines of one exchanger have in common."""

    clock: Clock
    brake: Brake
    user_agent: str
    credentials: dict[tuple[str, str, int], Credentials]
    trust: ssl.SSLContext
    transport: Transport | None


class Line:
    """Carries one conversation at a time over one connection. Close it with `aclose`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._clock = shared.clock
        self._socket: socket.socket | None = None
        try:
            self._client = httpx.AsyncClient(
                transport=shared.transport,
                verify=shared.trust,
                timeout=httpx.Timeout(WRITE_WAIT_S, connect=CONNECT_WAIT_S),
                limits=httpx.Limits(max_connections=1, keepalive_expiry=IDLE_CONNECTION_S),
                headers={
                    "User-Agent": shared.user_agent,
                    "Accept-Encoding": "identity",
                    "Accept": "application/json, */*",
                },
            )
        except (ImportError, ValueError) as error:  # what httpx makes of a proxy it cannot use
            raise ConfigError(
                f"The proxy that the environment names cannot be used: {scrub(str(error))}",
                hint="unset ALL_PROXY, HTTP_PROXY and HTTPS_PROXY, or name an http:// proxy",
            ) from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    @property
    def brake(self) -> Brake:
        """The throttle that this line shares with all others."""
        return self._shared.brake

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
        outgoing = Outgoing(request, payload, watch, self._clock)
        headers = [*request.headers, ("Content-Length", str(request.body.size_bytes)), *self._credentials_for(url)]
        started_s = self._clock.monotonic()
        try:
            built = self._client.build_request(
                request.method,
                url,
                headers=headers,
                content=outgoing.pieces() if request.body.size_bytes else None,
                timeout=httpx.Timeout(WRITE_WAIT_S, connect=CONNECT_WAIT_S, read=request.reply_wait_s),
                extensions={"trace": self._trace},
            )
            reply = await self._client.send(built, stream=True, follow_redirects=False)
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
            raise _fault(error, outgoing.all_sent) from error
        log.debug(
            "%s %s %d in %.3f s", request.method, scrub(url), reply.status_code, self._clock.monotonic() - started_s
        )
        return Response(reply.status_code, _plain(reply.headers), body, outgoing.all_sent)

    def _credentials_for(self, url: str) -> tuple[tuple[str, str], ...]:
        try:
            found = self._shared.credentials.get(origin(url))
        except ValueError as error:
            raise ConfigError(f"The address cannot be used: {scrub(str(error))}") from error
        return found.headers if found else ()

    async def _trace(self, event: str, details: Mapping[str, object]) -> None:
        """Learn of a new connection the moment it stands, before TLS."""
        if event == _CONNECTED:
            stream: _Stream = details["return_value"]  # type: ignore[assignment]  # httpcore's NetworkStream, by its documented method
            found = stream.get_extra_info("socket")
            self._socket = found  # type: ignore[assignment]  # a socket, or asyncio's stand-in with its methods
            if self._socket is not None:
                _notice_dead_peers(self._socket)


async def _read_body(reply: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in reply.aiter_raw():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise Nonsense(f"the reply ({reply.status_code}) is longer than {MAX_REPLY_BYTES >> 20} MiB", sent_all=True)
    return bytes(body)


def _plain(headers: httpx.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def trust() -> ssl.SSLContext:
    """Whom to believe over TLS; loading it takes tens of milliseconds, so it is done once."""
    return httpx.create_ssl_context()


def _fault(error: Exception, all_sent: bool) -> Fault:  # noqa: FBT001 - the one fact that decides ambiguity
    """The fault that a transport error stands for."""
    roots = list(_system_errors(error))
    what = scrub(_words_of(roots[-1]) if roots else str(error)) or type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        if roots and all(_is_offline(root) for root in roots):
            return Offline(f"there is no network ({what})")
        if roots and isinstance(roots[-1], ssl.SSLCertVerificationError):
            return Unreachable(f"the server's certificate cannot be trusted ({scrub(roots[-1].verify_message)})")
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


def _notice_dead_peers(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_PEER_S * 1000))


class _Scrubbing(logging.Filter):
    """Takes secrets out of what httpx logs when the host program turns its logging on."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = scrub(record.getMessage()), ()
        return True


def keep_addresses_out_of_logs() -> None:
    """Let nothing that httpx logs show a capability."""
    for name in ("httpx", "httpcore.http11", "httpcore.connection"):
        logger = logging.getLogger(name)
        if not any(isinstance(present, _Scrubbing) for present in logger.filters):
            logger.addFilter(_Scrubbing())

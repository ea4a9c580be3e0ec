"""One connection at a time to wherever its requests go: the one place where a request becomes traffic.

Speaks httpx, by its public interface alone. An exchange either returns a whole `Response` or raises a
`Fault`; it never retries. A line carries one conversation at a time, so its one connection is always known: httpx
tells of it through the `trace` extension.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import anyio
import httpx
from msgspec import Struct

from ..core.watchdog import Guard, Phase
from ..errors import ConfigError, InternalError
from ..faults import Fault, Interrupted, Nonsense, Offline, Severed, Unreachable
from ..redaction import Secret, scrub
from ..wire.address import origin
from ..wire.message import REPLY_WAIT_S, Response
from . import kernel
from .causes import is_offline, system_errors, was_refused, words_of
from .direct import BODY, CONNECTED, CONNECTING, Direct
from .proxies import first_hop
from .sending import Outgoing, Watch
from .watchdog import Door, Errand

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from ..core.watchdog import Sample
    from ..wire.message import Conversation, Request
    from .brake import Brake
    from .clock import Clock
    from .credentials import Credentials
    from .pace import Pace
    from .sending import Payload
    from .sockets import Sockets
    from .watchdog import Address, Watchdog

T = TypeVar("T")
Transport: TypeAlias = httpx.AsyncBaseTransport
Headers: TypeAlias = list[tuple[str, str]]
log = logging.getLogger("speechstream.http")

# The watchdog cuts what is dead; these are only the last net.
CONNECT_WAIT_S: Final = 60.0  # behind half a minute of queue an answer takes as long, and a first SYN may be lost
WRITE_WAIT_S: Final = 900.0  # a piece of 1 MiB takes 420 s at 20 kbit/s
_OWN_HEAD_BYTES: Final = 200  # what httpx adds: the request line, Host, User-Agent and so on
IDLE_CONNECTION_S: Final = 3.0  # servers close idle connections from 5 s on; a request must never meet that moment
MAX_REPLY_BYTES: Final = 16 << 20  # a day of speech is 1.5 MB of text; more than this is not for us


class _Stream(Protocol):
    def get_extra_info(self, info: str) -> object:
        """What is known of the connection beneath."""


class Shared(Struct, frozen=True):
    """What all lines of one exchanger have in common. `sockets` are ours where no proxy is between."""

    clock: Clock
    brake: Brake
    user_agent: str
    credentials: dict[tuple[str, str, int], Credentials]
    trust: Callable[[], ssl.SSLContext]
    transport: Transport | None
    watchdog: Watchdog | None
    pace: Pace
    congestion: str = kernel.AUTO
    sockets: Sockets | None = None


class Line:
    """Carries one conversation at a time over one connection. Close it with `aclose`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._clock = shared.clock
        self._socket: socket.socket | None = None
        self._strikes = 0
        self._generation = 0
        self._client = _client(shared)

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
        headers = [*request.headers, ("Content-Length", str(request.body.size_bytes)), *self._credentials_for(url)]
        outgoing = Outgoing(request, payload, watch, self._clock)
        started_s = self._clock.monotonic()
        response = await self._watched(request, url, headers, outgoing)
        seconds = self._clock.monotonic() - started_s
        log.debug("%s %s %d in %.3f s", request.method, scrub(url), response.status, seconds)
        return response

    async def _watched(self, request: Request, url: str, headers: Headers, outgoing: Outgoing) -> Response:
        """The exchange under the eyes of the watchdog; without one where a test brings its own transport."""
        watchdog = self._shared.watchdog
        if watchdog is None:
            outgoing.unobserved = True
            return await self._attempt(request, url, headers, outgoing)
        watchdog.notice_change()
        if self._generation != watchdog.generation:
            await self._renew(watchdog.generation)
        errand = self._errand(watchdog, request, url, headers, outgoing)
        offline_s = watchdog.link.offline_s
        try:
            response = await watchdog.over(errand, lambda: self._attempt(request, url, headers, outgoing))
        except Severed as severed:
            self._strikes += errand.strike
            raise Severed(severed.message, sent_all=outgoing.all_sent) from None
        except Interrupted as interrupted:
            if watchdog.link.offline_s > offline_s:  # the far side gave it up meanwhile: no reason to wait now
                message = f"the connection did not survive the outage: {interrupted.message}"
                raise Severed(message, sent_all=outgoing.all_sent) from interrupted
            raise
        except Offline as offline:
            watchdog.no_network(errand.door, offline.message)
            raise
        except Unreachable as unreachable:
            if watchdog.link.down and not was_refused(unreachable):
                raise Offline(watchdog.link.reason) from unreachable
            raise
        finally:
            if errand.guard.moved:
                self._strikes = 0
        waited_s = watchdog.clock.monotonic() - errand.guard.since_s if errand.guard.phase is Phase.WAITING else 0.0
        watchdog.reply_times[request.method].took(waited_s)
        return response

    def _errand(self, watchdog: Watchdog, request: Request, url: str, headers: Headers, outgoing: Outgoing) -> Errand:
        costly = request.final_byte_commits or (request.method == "POST" and request.reply_wait_s > REPLY_WAIT_S)
        guard = Guard(
            watchdog.clock.monotonic(),
            watchdog.patience,
            strikes=self._strikes,
            costly=costly,
            reply_s=watchdog.reply_times[request.method].limit_s() if request.method == "PATCH" else None,
        )
        head_bytes = sum(len(name) + len(value) + 4 for name, value in headers) + _OWN_HEAD_BYTES
        began_on = self._socket
        acked_bytes, left_bytes = kernel.sample(began_on).acked_bytes, kernel.left_bytes(began_on) or 0

        def read() -> Sample:
            sample = kernel.sample(self._socket, taken_bytes=outgoing.taken_bytes, all_written=outgoing.all_taken)
            self._shared.pace.look()
            if self._socket is not None and sample.connected:
                kernel.keep_trying_often(self._socket, sample.answer_s)
                before_bytes = head_bytes + (acked_bytes if self._socket is began_on else 0)
                outgoing.tell_arrived(sample.acked_bytes - (0 if sample.blind else before_bytes))
            return sample

        def discard() -> None:
            if (left := kernel.left_bytes(self._socket)) is not None:
                outgoing.tell_left(left - (left_bytes if self._socket is began_on else 0))
            self._discard()

        bulk = request.body.span is not None
        _, host, port = origin(url) if self._shared.sockets is not None else first_hop(url)
        return Errand(Door(host, port), guard, read, self._ends, discard, bulk)

    async def _attempt(self, request: Request, url: str, headers: Headers, outgoing: Outgoing) -> Response:
        filled = request.body.size_bytes > 0
        try:
            built = self._client.build_request(
                request.method,
                url,
                headers=headers,
                content=outgoing.pieces() if filled else None,
                timeout=httpx.Timeout(WRITE_WAIT_S, connect=CONNECT_WAIT_S, read=request.reply_wait_s),
                extensions={"trace": self._trace, **({BODY: outgoing.fleeting()} if filled else {})},
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
        return Response(reply.status_code, _plain(reply.headers), body, outgoing.all_sent)

    async def _renew(self, generation: int) -> None:
        """Drop the idle connection: it was made before this machine slept or moved."""
        self._discard()
        self._generation = generation
        stale, self._client = self._client, _client(self._shared)
        await stale.aclose()

    def _ends(self) -> tuple[Address, Address] | None:
        return None if self._socket is None else kernel.ends(self._socket)

    def _discard(self) -> None:
        if self._socket is not None:
            kernel.discard(self._socket)

    def _credentials_for(self, url: str) -> tuple[tuple[str, str], ...]:
        try:
            found = self._shared.credentials.get(origin(url))
        except ValueError as error:
            raise ConfigError(f"The address cannot be used: {scrub(str(error))}") from error
        return found.headers if found else ()

    async def _trace(self, event: str, details: Mapping[str, object]) -> None:
        """Learn of a new connection the moment it stands, before TLS."""
        if event == CONNECTING:
            self._socket = None
        elif event == CONNECTED:
            stream: _Stream = details["return_value"]  # type: ignore[assignment]  # httpcore's NetworkStream, by its documented method
            self._socket = stream.get_extra_info("socket")  # type: ignore[assignment]  # a socket, or asyncio's stand-in
            if self._socket is not None:
                kernel.prepare(self._socket)
                self._shared.pace.follow(self._socket)
                kernel.choose_congestion_control(self._socket, self._shared.congestion)


def _client(shared: Shared) -> httpx.AsyncClient:
    transport = shared.transport
    if transport is None and shared.sockets is not None:
        transport = Direct(shared.trust, shared.sockets, keepalive_s=IDLE_CONNECTION_S)
    try:
        return httpx.AsyncClient(
            transport=transport,
            verify=True if transport is not None else shared.trust(),
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
    """Whom to believe over TLS. Loading it takes 30 ms."""
    return httpx.create_ssl_context()


def _fault(error: Exception, all_sent: bool) -> Fault:  # noqa: FBT001 - the one fact that decides ambiguity
    """The fault that a transport error stands for."""
    roots = list(system_errors(error))
    what = scrub(words_of(roots[-1]) if roots else str(error)) or type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        if roots and all(is_offline(root) for root in roots):
            return Offline(f"there is no network ({what})")
        if roots and isinstance(roots[-1], ssl.SSLCertVerificationError):
            return Unreachable(f"the server's certificate cannot be trusted ({scrub(roots[-1].verify_message)})")
        return Unreachable(f"the server cannot be reached ({what})")
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return Interrupted("the connection fell silent", sent_all=all_sent)
    return Interrupted(f"the connection broke ({what})", sent_all=all_sent)


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

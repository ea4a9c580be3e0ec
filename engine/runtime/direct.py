"""httpx's way to a server when no proxy is between: HTTP/1.1 over one connection of our own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias

import h11
import httpx

from .http1 import Http1
from .sockets import Broken, Late

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator

    from .sockets import Sockets

BODY: Final = "speechstream.body"  # of a request's extensions: what its body is read from, instead of httpx's stream
CONNECTING: Final = "connection.connect_tcp.started"  # httpcore's names for what its trace extension tells
CONNECTED: Final = "connection.connect_tcp.complete"
_PORTS: Final = {"http": 80, "https": 443}
_PROTOCOLS: Final = ["http/1.1"]
_Origin: TypeAlias = tuple[str, str, int]
_Words: TypeAlias = tuple[type[httpx.TransportError], type[httpx.TransportError]]
_CONNECTING: Final[_Words] = (httpx.ConnectError, httpx.ConnectTimeout)
_TALKING: Final[_Words] = (httpx.ReadError, httpx.ReadTimeout)


class Direct(httpx.AsyncBaseTransport):
    """One connection, kept for `keepalive_s` seconds of idleness. `trust` is only asked where there is TLS."""

    def __init__(self, trust: Callable[[], ssl.SSLContext], sockets: Sockets, *, keepalive_s: float) -> None:
        self._trust = trust
        self._sockets = sockets
        self._keepalive_s = keepalive_s
        self._origin: _Origin | None = None
        self._http: Http1 | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its reply's body is read by who asked for it.

        Raises:
            httpx.TransportError: as httpx's own transports do.
        """
        http = await self._connection(request)
        timeouts = request.extensions["timeout"]
        what = (request.method.encode("ascii"), request.url.raw_path, request.headers.raw)
        body: AsyncIterable[bytes | memoryview] = request.extensions.get(BODY, request.stream)
        try:
            with _in_httpx_words(_TALKING):
                reply = await http.ask(what, body, write_s=timeouts["write"], read_s=timeouts["read"])
        except BaseException:
            self._close()
            raise
        return httpx.Response(
            reply.status_code,
            headers=reply.headers.raw_items(),
            stream=_Body(http, timeouts["read"]),
            extensions={"http_version": b"HTTP/" + reply.http_version, "reason_phrase": reply.reason},
        )

    async def aclose(self) -> None:
        """Close the connection."""
        self._close()

    async def _connection(self, request: httpx.Request) -> Http1:
        """The connection that is there, if a request may go over it, or a new one."""
        url = request.url
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol(f"{url.scheme or 'an address without a scheme'} is not spoken here")
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])
        if self._http is not None and self._origin == origin and self._http.usable:
            return self._http
        self._close()
        scheme, host, port = origin
        tell = request.extensions["trace"]
        await tell(CONNECTING, {})
        timeout_s = request.extensions["timeout"]["connect"]
        with _in_httpx_words(_CONNECTING):
            connection = await self._sockets.connect(host, port, timeout_s)
            try:
                await tell(CONNECTED, {"return_value": connection})
                if scheme == "https":
                    trust = self._trust()
                    trust.set_alpn_protocols(_PROTOCOLS)
                    await connection.secure(trust, host, timeout_s)
            except BaseException:
                connection.close()
                raise
        self._origin, self._http = origin, Http1(connection, self._keepalive_s)
        return self._http

    def _close(self) -> None:
        if self._http is not None:
            self._http.connection.close()
            self._http = None


class _Body(httpx.AsyncByteStream):
    def __init__(self, http: Http1, read_s: float) -> None:
        self._http = http
        self._read_s = read_s
        self._over = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_httpx_words(_TALKING):
            async for piece in self._http.reply_body(self._read_s):
                yield piece

    async def aclose(self) -> None:
        if not self._over:
            self._over = True
            self._http.end()


@contextlib.contextmanager
def _in_httpx_words(words: _Words) -> Iterator[None]:
    broken, late = words
    try:
        yield
    except Broken as error:
        raise broken(str(error)) from error
    except Late as error:
        raise late(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error

"""httpx's way to a server when no proxy is between: httpcore over sockets of our own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

    from .sockets import Sockets

# The most specific first: each is the other library's word for the same thing.
_WORDS: Final = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
)


class Direct(httpx.AsyncBaseTransport):
    """One connection a scheme, kept for `keepalive_s` seconds of idleness. `trust` is only asked where there is TLS."""

    def __init__(self, trust: Callable[[], ssl.SSLContext], sockets: Sockets, *, keepalive_s: float) -> None:
        self._trust = trust
        self._sockets = sockets
        self._keepalive_s = keepalive_s
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its reply's body is read by who asked for it."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _in_httpx_words():
            reply = await self._pool(request.url.scheme).handle_async_request(asked)
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply), extensions=reply.extensions)

    async def aclose(self) -> None:
        """Close the connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, scheme: str) -> httpcore.AsyncConnectionPool:
        if scheme not in self._pools:
            self._pools[scheme] = httpcore.AsyncConnectionPool(
                ssl_context=self._trust() if scheme == "https" else None,
                max_connections=1,
                keepalive_expiry=self._keepalive_s,
                network_backend=self._sockets,
            )
        return self._pools[scheme]


class _Body(httpx.AsyncByteStream):
    def __init__(self, reply: httpcore.Response) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_httpx_words():
            async for piece in self._reply.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._reply.aclose()


@contextlib.contextmanager
def _in_httpx_words() -> Iterator[None]:
    try:
        yield
    except tuple(theirs for theirs, _ in _WORDS) as error:
        ours = next(ours for theirs, ours in _WORDS if isinstance(error, theirs))
        raise ours(str(error)) from error

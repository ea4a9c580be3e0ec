"""The sockets beneath httpx: non-blocking ones of our own, for a body's bytes to go from our buffer to the kernel.

asyncio's transports copy what the kernel does not take at once, and their TLS goes through two buffers more. Over TLS
these cost a sixth less processor time for a GB (bench/loopback.py), and 10 MiB less memory. A socket that we
hold ourselves can also have been connected before there was anything to say (`ahead`).

The base of `direct`, the other importer of httpcore, whose network backends are made to be replaced.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import httpcore

from .ahead import is_readable
from .connecting import connected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from .ahead import Ahead

Sessions: TypeAlias = dict[str | None, ssl.SSLSession]
_GONE: Final = (OSError, anyio.ClosedResourceError)


class _As:
    """The errors of the system in httpcore's words. Entered for every piece of a body: a generator costs twice this."""

    __slots__ = ("_broken", "_late")

    def __init__(self, late: type[Exception], broken: type[Exception]) -> None:
        self._late = late
        self._broken = broken

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, TimeoutError):
            raise (self._broken if error.errno else self._late)(str(error)) from error
        if isinstance(error, _GONE):
            raise self._broken(str(error)) from error


_READING: Final = _As(httpcore.ReadTimeout, httpcore.ReadError)
_WRITING: Final = _As(httpcore.WriteTimeout, httpcore.WriteError)
_CONNECTING: Final = _As(httpcore.ConnectTimeout, httpcore.ConnectError)


class Sockets(httpcore.AsyncNetworkBackend):
    """Makes connections for httpcore, or hands out what was connected `ahead`. They share their TLS `sessions`."""

    def __init__(self, ahead: Ahead | None = None, sessions: Sessions | None = None) -> None:
        self._ahead = ahead
        self._sessions = {} if sessions is None else sessions

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            httpcore.ConnectError: none did, or there is no such host.
            httpcore.ConnectTimeout: none did in time.
        """
        with _CONNECTING, anyio.fail_after(timeout):
            if self._ahead is not None and (spare := await self._ahead.take(host, port)) is not None:
                return Connection(spare, self._sessions)
            fresh = await connected(host, port, local_address, tuple(socket_options or ()))
            return Connection(fresh, self._sessions)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


class Connection(httpcore.AsyncNetworkStream):
    """A connected socket, and what speaks TLS over it once that is begun.

    What a server gives to go on with (RFC 8446 section 2.2: no certificates are sent and proved again) is put into
    `sessions`, for the next connection to it.
    """

    def __init__(self, raw: socket.socket, sessions: Sessions, secured: ssl.SSLSocket | None = None) -> None:
        self._raw = raw
        self._sessions = sessions
        self._secured = secured
        self._speaker = secured or raw
        self._kept = secured is None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        """What has come, once something has; nothing when the peer has said all.

        Raises:
            httpcore.ReadError: the connection broke.
            httpcore.ReadTimeout: nothing came in time.
        """
        with _READING, anyio.fail_after(timeout):
            while True:
                try:
                    received = self._speaker.recv(max_bytes)
                except (BlockingIOError, ssl.SSLWantReadError):
                    await anyio.wait_readable(self._raw)
                except ssl.SSLWantWriteError:
                    await anyio.wait_writable(self._raw)
                else:
                    self._keep_session()
                    return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        """Have the kernel take all of it.

        Raises:
            httpcore.WriteError: the connection broke.
            httpcore.WriteTimeout: it did not in time.
        """
        with _WRITING:
            left = self._beyond_what_is_taken(memoryview(buffer))
            if left:
                with anyio.fail_after(timeout):
                    while left:
                        await anyio.wait_writable(self._raw)
                        left = self._beyond_what_is_taken(left)

    async def aclose(self) -> None:
        """Close it. The peer of a TLS connection is not told first: a body's length says where it ends."""
        for each in (self._secured, self._raw):
            if each is not None and each.fileno() >= 0:
                anyio.notify_closing(each)
                each.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        """Speak TLS from here on.

        The TLS socket has a descriptor of its own, so that who watches the connection by its raw socket still can.

        Raises:
            httpcore.ConnectError: the peer cannot, or is not who it should be.
            httpcore.ConnectTimeout: it took too long.
        """
        try:
            with _CONNECTING, anyio.fail_after(timeout):
                secured = ssl_context.wrap_socket(
                    self._raw.dup(),
                    server_hostname=server_hostname,
                    do_handshake_on_connect=False,
                    session=self._sessions.get(server_hostname),
                )
                self._secured = secured
                await self._until_done(secured.do_handshake)
        except BaseException:
            await self.aclose()
            raise
        return Connection(self._raw, self._sessions, secured)

    def get_extra_info(self, info: str) -> object:
        """What httpcore asks for, and the raw socket, which the watchdog samples."""
        match info:
            case "ssl_object":
                return self._secured
            case "socket":
                return self._raw
            case "client_addr":
                return self._raw.getsockname()
            case "server_addr":
                return self._raw.getpeername()
            case "is_readable":
                return is_readable(self._raw)
        return None

    def _keep_session(self) -> None:
        """With TLS 1.3 it comes behind the handshake, so it is there with the first that is read."""
        if self._kept or self._secured is None:
            return
        self._kept = True
        session = self._secured.session
        if session is not None and session.has_ticket:
            self._sessions[self._secured.server_hostname] = session

    def _beyond_what_is_taken(self, left: memoryview) -> memoryview:
        """Give the kernel as much as it takes now; over TLS that is a record at a time. Returns the rest."""
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            while left:
                left = left[self._speaker.send(left) :]
        return left

    async def _until_done(self, attempt: Callable[[], None]) -> None:
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:
                await anyio.wait_readable(self._raw)
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self._raw)

"""The sockets beneath httpx: non-blocking ones of our own, for a body's bytes to go from our buffer to the kernel.

asyncio's transports copy what the kernel does not take at once, and their TLS goes through two buffers more. Over TLS
these cost a sixth less processor time for a GB (bench/loopback.py), and 10 MiB less memory. A socket that we
hold ourselves can also have been connected before there was anything to say (`ahead`).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from . import kernel
from .ahead import is_readable
from .connecting import connected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from .ahead import Ahead

Sessions: TypeAlias = dict[str | None, ssl.SSLSession]


class Broken(Exception):
    """The connection carries nothing any more, or none came about. Its cause is the system's error."""


class Late(Exception):
    """It took longer than it may."""


class _Told:
    """The errors of the system as these two. Entered for every piece of a body: a generator costs twice this."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, TimeoutError) and not error.errno:
            raise Late(str(error)) from error
        if isinstance(error, (OSError, anyio.ClosedResourceError)):
            raise Broken(str(error)) from error


_TOLD: Final = _Told()


class Sockets:
    """Makes connections, or hands out what was connected `ahead`. They share their TLS `sessions`."""

    def __init__(self, ahead: Ahead | None = None, sessions: Sessions | None = None) -> None:
        self._ahead = ahead
        self._sessions = {} if sessions is None else sessions

    async def connect(self, host: str, port: int, timeout_s: float) -> Connection:
        """Connect to the first address of a host that answers.

        Raises:
            Broken: none did, or there is no such host.
            Late: none did in time.
        """
        with _TOLD, anyio.fail_after(timeout_s):
            if self._ahead is not None and (spare := await self._ahead.take(host, port)) is not None:
                return Connection(spare, self._sessions)
            return Connection(await connected(host, port), self._sessions)


class Connection:
    """A connected socket (`raw`), and what speaks TLS over it once that is begun (`secured`).

    What a server gives to go on with (RFC 8446 section 2.2: no certificates are sent and proved again) is put into
    `sessions`, for the next connection to it.
    """

    def __init__(self, raw: socket.socket, sessions: Sessions) -> None:
        self.raw = raw
        self.secured: ssl.SSLSocket | None = None
        self._sessions = sessions
        self._speaker: socket.socket = raw
        self._session_kept = True
        self._is_slow = False

    async def read(self, most_bytes: int, timeout_s: float) -> bytes:
        """What has come, once something has; nothing when the peer has said all.

        Raises:
            Broken: the connection broke.
            Late: nothing came in time.
        """
        with _TOLD, anyio.fail_after(timeout_s):
            while True:
                try:
                    received = self._speaker.recv(most_bytes)
                except (BlockingIOError, ssl.SSLWantReadError):
                    await anyio.wait_readable(self.raw)
                except ssl.SSLWantWriteError:
                    await anyio.wait_writable(self.raw)
                else:
                    self._keep_session()
                    return received

    async def write(self, piece: bytes | memoryview) -> None:
        """Have the kernel take all of it; afterwards the buffer is free for other bytes. Over TLS, record by record.

        Raises:
            Broken: the connection broke.
        """
        send, left = self._speaker.send, memoryview(piece)
        with _TOLD:
            while left:
                try:
                    left = left[send(left) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    if not self._is_slow:
                        self._is_slow = True
                        kernel.keep_little_unsent(self.raw)
                    await anyio.wait_writable(self.raw)

    async def secure(self, trust: ssl.SSLContext, host: str, timeout_s: float) -> None:
        """Speak TLS from here on.

        The TLS socket has a descriptor of its own, so that who watches the connection by its raw socket still can.

        Raises:
            Broken: the peer cannot, or is not who it should be.
            Late: it took too long.
        """
        with _TOLD, anyio.fail_after(timeout_s):
            secured = trust.wrap_socket(
                self.raw.dup(),
                server_hostname=host,
                do_handshake_on_connect=False,
                session=self._sessions.get(host),
            )
            self._speaker = self.secured = secured
            self._session_kept = False
            await self._until_done(secured.do_handshake)

    def close(self) -> None:
        """Close it. The peer of a TLS connection is not told first: a body's length says where it ends."""
        for each in (self.secured, self.raw):
            if each is not None and each.fileno() >= 0:
                anyio.notify_closing(each)
                each.close()

    @property
    def has_something_to_say(self) -> bool:
        """Whether something can be read; on a connection where nothing was asked, that is its end."""
        return is_readable(self.raw)

    def get_extra_info(self, info: str) -> object:
        """The socket, under the name by which httpcore's connections are asked for theirs."""
        return self.raw if info == "socket" else None

    def _keep_session(self) -> None:
        """With TLS 1.3 it comes behind the handshake, so it is there with the first that is read."""
        if self._session_kept or self.secured is None:
            return
        self._session_kept = True
        session = self.secured.session
        if session is not None and session.has_ticket:
            self._sessions[self.secured.server_hostname] = session

    async def _until_done(self, attempt: Callable[[], None]) -> None:
        while True:
            try:
                return attempt()
            except ssl.SSLWantReadError:
                await anyio.wait_readable(self.raw)
            except ssl.SSLWantWriteError:
                await anyio.wait_writable(self.raw)

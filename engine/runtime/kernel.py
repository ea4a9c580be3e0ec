"""What the operating system knows about connections, and what it is asked to do with them.

`TCP_INFO` is Linux's: `struct tcp_info` of linux/tcp.h has grown since 2.4, always at its end, so each field is read if
the kernel's answer is long enough. Elsewhere only writes that complete are seen.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import time
from typing import Final

import anyio
from msgspec import Struct

from ..core.watchdog import Sample

LAST_NET_S: Final = 3600.0  # the kernel's own end of patience, for what the watchdog does not see
_PROBE_EVERY_S: Final = 1  # a connection that waits for a reply is probed so often: 52 bytes a second
_TCP_RTO_MAX_MS: Final = 44  # linux/tcp.h since 6.15; not yet in the socket module
_LEAST_RTO_MAX_MS: Final = 1000  # the least that Linux takes
_MOST_RTO_MAX_MS: Final = 120_000
_INFO_BYTES: Final = 256
_SO_MAX_PACING_RATE: Final = 47  # asm-generic/socket.h, bytes a second; TCP paces itself since 4.13; not in socket
_UNSENT_BYTES: Final = 16 << 10
_UNSENT_BEFORE_SLOW_BYTES: Final = 128 << 10  # still in the processor's cache when the kernel comes to send it
_NO_BOUND: Final = frozenset({-1, 0})  # what stands for none: the system's default, or nothing set
AUTO: Final = "auto"
OFF: Final = "off"
_BEST_CONTROL: Final = "bbr"
_NO_RTT_S: Final = 4000.0  # the field holds ~0 microseconds before there is a sample
_ANSWERS: Final = frozenset({0, errno.ECONNREFUSED})


class TcpInfo(Struct, frozen=True):
    """The fields of `struct tcp_info` that tell whether a connection lives. Times are seconds."""

    probes_lost: int
    rto_s: float
    unacked_segments: int
    sent_ago_s: float
    heard_ago_s: float
    rtt_s: float
    rtt_variation_s: float
    acked_bytes: int
    unsent_bytes: int
    least_rtt_s: float = 0.0
    left_bytes: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> TcpInfo | None:
        """Read the kernel's answer; None from a kernel before 4.6, which does not tell what is unsent."""
        if len(raw) < 148:  # noqa: PLR2004 - the end of tcpi_notsent_bytes
            return None

        def word(offset: int) -> int:
            return int(struct.unpack_from("=I", raw, offset)[0])

        def long(offset: int) -> int:
            return int(struct.unpack_from("=Q", raw, offset)[0])

        return cls(
            probes_lost=raw[3],
            rto_s=word(8) / 1e6,
            unacked_segments=word(24),
            sent_ago_s=word(44) / 1e3,
            heard_ago_s=word(56) / 1e3,
            rtt_s=word(68) / 1e6,
            rtt_variation_s=word(72) / 1e6,
            acked_bytes=long(120),
            unsent_bytes=word(144),
            least_rtt_s=word(148) / 1e6 if len(raw) >= 152 else 0.0,  # noqa: PLR2004 - the end of tcpi_min_rtt
            left_bytes=long(200) - long(208) if len(raw) >= 216 else None,  # noqa: PLR2004 - the end of tcpi_bytes_retrans
        )


def tcp_info(connection: socket.socket) -> TcpInfo | None:
    """What the kernel knows, or None where it does not say or the connection is closed."""
    if sys.platform != "linux":
        return None
    try:
        return TcpInfo.parse(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES))
    except OSError:
        return None


def left_bytes(connection: socket.socket | None) -> int | None:
    """How much of what the connection was given has left this machine, each byte counted once; None if unknown.

    The rest stands in the socket's own queue. Linux tells since 4.19.
    """
    info = tcp_info(connection) if connection is not None else None
    return info.left_bytes if info is not None else None


def sample(connection: socket.socket | None, *, taken_bytes: int = 0, all_written: bool = False) -> Sample:
    """What can be known of a connection now; `taken_bytes` is what the socket has taken of the body."""
    if connection is None or connection.fileno() < 0:
        return Sample(connected=False)
    info = tcp_info(connection)
    if info is None:
        return Sample(acked_bytes=taken_bytes, all_written=all_written, blind=True)
    return Sample(
        acked_bytes=info.acked_bytes,
        unacked=info.unacked_segments > 0,
        unsent=info.unsent_bytes > 0,
        all_written=all_written,
        heard_ago_s=info.heard_ago_s,
        answer_s=info.rtt_s + 4 * info.rtt_variation_s,
        retry_in_s=info.rto_s - info.sent_ago_s,
        probes_lost=info.probes_lost,
        rtt_s=info.rtt_s,
        base_rtt_s=info.least_rtt_s if info.least_rtt_s < _NO_RTT_S else 0.0,
    )


def ends(connection: socket.socket) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Its own address and its peer's, each as host and port; None once it is closed."""
    try:
        own, peer = connection.getsockname(), connection.getpeername()
    except OSError:
        return None
    return (own[0], own[1]), (peer[0], peer[1])


def prepare(connection: socket.socket) -> None:
    """Have a new connection probed while it waits, and leave its end to the watchdog."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_EVERY_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(LAST_NET_S * 1000))  # RFC 5482


def fills(name: str) -> bool:
    """Whether connections for which `name` is chosen will fill a link that loses packets."""
    if sys.platform != "linux" or name not in {AUTO, _BEST_CONTROL}:
        return False
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _BEST_CONTROL.encode())
        except OSError:
            return False
    return True


def choose_congestion_control(connection: socket.socket, name: str) -> None:
    """Have a new connection send as `name` does: AUTO for BBR where this user may ask for it, OFF for the system's own.

    BBR (Cardwell et al., ACM Queue 14(5), 2016) goes by the delivery rate, and takes a lost packet for what it is.
    """
    if sys.platform != "linux" or name == OFF:
        return
    with contextlib.suppress(OSError):  # not in this kernel, or not allowed to this user
        wanted = _BEST_CONTROL if name == AUTO else name
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, wanted.encode())


def keep_trying_often(connection: socket.socket, answer_s: float) -> None:
    """Let the kernel's pauses between retransmissions not grow beyond what a slow answer takes, where it can."""
    if sys.platform == "linux":
        most_ms = min(max(int(2000 * answer_s), _LEAST_RTO_MAX_MS), _MOST_RTO_MAX_MS)
        with contextlib.suppress(OSError):  # a kernel before 6.15
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, most_ms)


def smooth(connection: socket.socket, rate_bytes_s: float) -> None:
    """Keep the socket's own queue short, and let the kernel spread what leaves over time, where it can.

    Otherwise bytes stand in the socket that were handed over under another rate, and leave in bursts that are a queue
    by themselves.
    """
    with contextlib.suppress(OSError):  # closed
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        if sys.platform == "linux":
            connection.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=Q", int(rate_bytes_s)))


def keep_little_unsent(connection: socket.socket) -> None:
    """Let no more wait in a socket than is soon sent: its peer turned out to be slower than we are.

    Else megabytes stand there, which are sent no sooner for it, and late enough to have left the processor's cache
    (docs/design.md says what that costs).
    """
    with contextlib.suppress(OSError, AttributeError):  # closed, or a system without the option
        if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) in _NO_BOUND:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BEFORE_SLOW_BYTES)


def discard(connection: socket.socket) -> None:
    """Have the connection closed at once and for good: what it still held for the peer must not arrive late."""
    with contextlib.suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def knock(address: tuple[str, int]) -> float | None:
    """Connect to `address` and close again: the round trip in seconds, or None where nothing answers.

    A refusal is an answer: it has made the way there and back.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    started_s = time.monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as fresh:
        fresh.setblocking(False)  # noqa: FBT003 - the call's own form
        error = fresh.connect_ex(address)
        if error == errno.EINPROGRESS:
            await anyio.wait_writable(fresh)
            error = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error not in _ANSWERS:
            return None
        info = tcp_info(fresh) if not error else None
        return info.rtt_s if info is not None else time.monotonic() - started_s


def local_address(towards: tuple[str, int]) -> str | None:
    """The address this machine would send from to reach `towards`; None without a route. No packet leaves."""
    family = socket.AF_INET6 if ":" in towards[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(towards)
            address: str = probe.getsockname()[0]
            return address
    except OSError:
        return None


def slept_s() -> float:
    """How far the clock that counts sleep is ahead of the one that does not: it jumps when a lid was closed."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return time.time() - time.monotonic()

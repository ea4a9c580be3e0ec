"""Child processes that never outlive us: leashed, in a session of their own, killed as a group."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections import deque
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio
from msgspec import Struct

from .errors import ToolHung
from .pipes import Reader, pipe
from .together import together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

_LEASH = Path(__file__).with_name("leash.py")
_TICK_S = 0.1
_STDERR_LINES = 200  # enough for a cause and its consequences; the rest of a flood says the same again
_STDERR_LINE_BYTES = 1000  # a line without end must not fill memory
# What a program needs to start and to speak; keys and tokens are none of its business.
_ENVIRONMENT = frozenset({
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME"),
})  # fmt: skip
_ANSWER_BYTES = 4 << 20  # a child answers in kilobytes; more is a fault


class Limits(Struct, frozen=True):
    """Resource limits of a child.

    Attributes:
        cpu_s: Processor seconds before it is killed.
        memory_bytes: Address space; 2 GiB was enough for every recipe.
        open_files: File descriptors.
        wall_s: Seconds that it may take while we wait for it; what we make it wait does not count.
    """

    cpu_s: int
    memory_bytes: int = 2 << 30
    open_files: int = 64
    wall_s: float = math.inf

    def arguments(self) -> list[str]:
        """The limits as `leash.py` reads them; no child may write a file or dump its memory.

        Not `NPROC`: it counts all processes and threads of the user, so any number is too small for somebody.
        """
        limits = {"CPU": self.cpu_s, "NOFILE": self.open_files, "CORE": 0, "FSIZE": 0}
        if sys.platform == "linux":
            limits["AS"] = self.memory_bytes
        return [f"{name}={number}" for name, number in limits.items()]


class Answer(Struct, frozen=True):
    """How a child ended: exit status (negative: the signal), its output and its last words."""

    status: int
    output: bytes
    last_words: tuple[str, ...]


class Child(Struct, frozen=True):
    """A running child: its standard output and its log, its end, and its standard input if it has one."""

    output: Reader
    log: ByteReceiveStream
    wait: Callable[[], Awaitable[int]]
    input: ByteSendStream | None = None


@asynccontextmanager
async def leashed(
    command: Sequence[str], limits: Limits, *, pass_fds: Sequence[int] = (), listens: bool = False
) -> AsyncIterator[Child]:
    """Run `command` (its first item an absolute path) with pipes for its output and, if it `listens`, its input.

    However the block is left, the child and everything it started is dead afterwards. SIGKILL on
    purpose: asked politely, ffmpeg finishes a valid but short file that looks complete.
    """
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *limits.arguments(), "--"]
    with pipe() as (output, writer):
        process = await anyio.open_process(
            [*leash, *command],
            stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=pass_fds,
            env={name: value for name, value in os.environ.items() if name in _ENVIRONMENT},
        )
        try:
            writer.close()
            # anyio types it as optional; it is there because a pipe was asked for.
            yield Child(output, cast("ByteReceiveStream", process.stderr), process.wait, process.stdin)
        finally:
            with anyio.CancelScope(shield=True):
                _kill_group(process)
                await process.aclose()


def _kill_group(process: Process) -> None:
    # Until its leader is reaped the group's number cannot be given to anyone else.
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


async def drain_lines(stream: ByteReceiveStream, take: Callable[[str], None]) -> None:
    """Read `stream` to its end, handing over its lines one by one."""
    rest = b""
    async for chunk in stream:
        *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            if line.strip():
                take(line[:_STDERR_LINE_BYTES].decode(errors="replace"))
        rest = rest[:_STDERR_LINE_BYTES]
    if rest.strip():
        take(rest.decode(errors="replace"))


def last_words() -> deque[str]:
    """An empty, bounded list for `drain_lines`."""
    return deque(maxlen=_STDERR_LINES)


async def ask(command: Sequence[str], limits: Limits, *, timeout_s: float, spoken: bytes | None = None) -> Answer:
    """Run `command` to its end and return what it said; `spoken`, if given, is what it reads.

    Raises:
        ToolHung: It did not end within `timeout_s`; it has been killed.
    """
    output = bytearray()
    words = last_words()
    status = 0
    hung = False

    async def watch(scope: anyio.CancelScope) -> None:
        nonlocal hung
        # Ticks instead of a deadline: time in which we were stopped ourselves must not count.
        for _ in range(math.ceil(timeout_s / _TICK_S)):
            await anyio.sleep(_TICK_S)
        hung = True
        scope.cancel()

    async with together() as watched:
        watched.start_soon(watch, watched.cancel_scope)
        async with leashed(command, limits, listens=spoken is not None) as child, together() as tasks:
            tasks.start_soon(drain_lines, child.log, words.append)
            if child.input is not None and spoken is not None:
                tasks.start_soon(_speak, child.input, spoken)
            async for chunk in child.output:
                output += chunk[: _ANSWER_BYTES - len(output)]
            status = await child.wait()
        watched.cancel_scope.cancel()
    if hung:
        raise ToolHung(f"{Path(command[0]).name} did not answer within {timeout_s:g} s.")
    return Answer(status, bytes(output), tuple(words))


async def _speak(listener: ByteSendStream, spoken: bytes) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # why it stopped listening, its end tells
        await listener.send(spoken)
        await listener.aclose()

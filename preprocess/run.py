"""Run one ffmpeg, hand on what it writes, and watch over it.

ffmpeg writes to a pipe that we read, never to a file: the bytes are the same, we know at every moment what
is on the disk for good, a full disk is our own error instead of ffmpeg's, and an ffmpeg without us dies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from .child import Answer, Limits, drain_lines, leashed
from .errors import ToolHung
from .log import Log
from .pipes import pipe
from .progress import ProgressReader
from .together import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .child import Child
    from .log import Losses
    from .pipes import Reader

HANG_S: Final = 60.0  # a sleeping disk wakes in 10 s; a network file system gives up after about as long
_TICK_S: Final = 1.0


class FfmpegRun:
    """One run of ffmpeg.

    Attributes:
        reader: What it has reported so far.
        taken_bytes: How much of its output has been handed on.
    """

    def __init__(self, on_report: Callable[[], None]) -> None:
        self.reader = ProgressReader()
        self.taken_bytes = 0
        self._log = Log()
        self._on_report = on_report
        self._moved = False
        self._waiting = True
        self._hang = ""

    @property
    def losses(self) -> Losses:
        """What it could not read so far."""
        return self._log.losses

    async def run(
        self, command: Callable[[int], list[str]], limits: Limits, take: Callable[[bytes], Awaitable[None]]
    ) -> Answer:
        """Run `command(progress_fd)` to its end; all it writes is given to `take`, which may take its time.

        Raises:
            ToolHung: Nothing moved for too long although we were reading.
        """
        status = -1
        with pipe() as (reports, writer):
            write_fd = writer.fileno()
            async with leashed(command(write_fd), limits, pass_fds=(write_fd,)) as child:
                writer.close()  # ours; from now on the end of ffmpeg is the end of its reports
                async with together() as watched:
                    watched.start_soon(self._watch, watched.cancel_scope, limits.wall_s)
                    async with together() as tasks:
                        tasks.start_soon(drain_lines, child.log, self._log.take)
                        tasks.start_soon(self._follow, reports)
                        await self._pump(child, take)
                        status = await child.wait()
                    watched.cancel_scope.cancel()
        if self._hang:
            raise ToolHung(
                f"ffmpeg {self._hang} and was stopped.",
                hint="Is the recording's disk still there? Run the same command again.",
            )
        return Answer(status, b"", tuple(self._log.words))

    async def _pump(self, child: Child, take: Callable[[bytes], Awaitable[None]]) -> None:
        async for chunk in child.output:
            self._moved, self._waiting = True, False
            await take(chunk)
            self.taken_bytes += len(chunk)
            self._waiting = True

    async def _follow(self, reports: Reader) -> None:
        done_s = self.reader.done_s
        async for data in reports:
            if self.reader.feed(data):
                self._moved = self._moved or self.reader.done_s > done_s
                done_s = self.reader.done_s
                self._on_report()

    async def _watch(self, scope: anyio.CancelScope, wall_s: float) -> None:
        # Ticks instead of two readings of a clock: time in which we were stopped ourselves, by Ctrl-Z or
        # a closed lid, then counts as one tick and not as ffmpeg's silence.
        silent_s = waited_s = 0.0
        while silent_s < HANG_S and waited_s < wall_s:
            await anyio.sleep(_TICK_S)
            waited_s += _TICK_S * self._waiting
            silent_s = 0.0 if self._moved or not self._waiting else silent_s + _TICK_S
            self._moved = False
        self._hang = f"made no progress for {HANG_S:g} s" if silent_s >= HANG_S else f"was not done after {wall_s:g} s"
        scope.cancel()

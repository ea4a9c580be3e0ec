"""Run one ffmpeg and bring what it writes into a growing file, watching over it.

ffmpeg writes to a pipe that we read, never to a file: the bytes are the same, we know at every moment what
is on the disk for good, a full disk is our own error instead of ffmpeg's, and an ffmpeg without us dies.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import anyio
import anyio.to_thread

from .child import Answer, Limits, drain_lines, leashed
from .errors import PreprocessError, ToolHung
from .log import Log
from .progress import Progress, ProgressReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .child import Child
    from .spool import Partial

HANG_S = 60.0  # a sleeping disk wakes in 10 s; a network file system gives up after about as long
_TICK_S = 1.0
_SYNC_S = 1.0  # how much work a power cut may cost
_SYNC_BYTES = 4 << 20  # the same in bytes, for recipes faster than this
_READ_BYTES = 64 << 10


class Encoding:
    """One run of ffmpeg into one growing file."""

    def __init__(
        self,
        partial: Partial,
        *,
        total_s: float | None,
        report: Callable[[Progress], None] | None,
    ) -> None:
        self.reader = ProgressReader()
        self._log = Log()
        self._partial = partial
        self._total_s = total_s
        self._report = report
        self._hang_s = HANG_S
        self._moved = False
        self._waiting = True
        self._hung = False
        self._failure: PreprocessError | None = None

    @property
    def filled_samples(self) -> int:
        """Samples of silence, at the source's rate, that were put where no sound could be read."""
        return self._log.filled_samples

    async def run(self, command: Callable[[int], list[str]], limits: Limits) -> Answer:
        """Run `command(progress_fd)` to its end; `output` of the answer is empty, it is in the file.

        Raises:
            ToolHung: Nothing moved for too long although we were reading.
            NoSpace: The growing file cannot grow.
            OutputDenied: The same for another reason.
        """
        status = -1
        with _progress_pipe() as (read_fd, writer):
            write_fd = writer.fileno()
            async with leashed(command(write_fd), limits, pass_fds=(write_fd,)) as child:
                writer.close()  # ours; from now on the end of ffmpeg is the end of its reports
                async with anyio.create_task_group() as watched:
                    watched.start_soon(self._watch, watched.cancel_scope)
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(drain_lines, child.log, self._log.take)
                        tasks.start_soon(self._follow, read_fd)
                        if await self._pump(child):
                            status = await child.wait()
                        else:
                            tasks.cancel_scope.cancel()
                    watched.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        if self._hung:
            raise ToolHung(
                f"ffmpeg made no progress for {self._hang_s:g} s and was stopped.",
                hint="Is the recording's disk still there? Run the same command again.",
            )
        self._tell()
        return Answer(status, b"", tuple(self._log.words))

    async def _pump(self, child: Child) -> bool:
        """Move output into the file; False if the file would not take it."""
        synced_at = anyio.current_time()
        try:
            async for chunk in child.output:
                self._moved, self._waiting = True, False
                await anyio.to_thread.run_sync(self._partial.append, chunk)
                behind = self._partial.size_bytes - self._partial.watermark_bytes
                if behind >= _SYNC_BYTES or anyio.current_time() - synced_at >= _SYNC_S:
                    await anyio.to_thread.run_sync(self._partial.sync)
                    synced_at = anyio.current_time()
                self._waiting = True
            await anyio.to_thread.run_sync(self._partial.sync)
        except PreprocessError as error:
            self._failure = error
            return False
        return True

    async def _follow(self, read_fd: int) -> None:
        done_s = self.reader.done_s
        while True:
            await anyio.wait_readable(read_fd)
            data = os.read(read_fd, _READ_BYTES)
            if not data:
                return
            if self.reader.feed(data):
                self._moved = self._moved or self.reader.done_s > done_s
                done_s = self.reader.done_s
                self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            partial = self._partial
            self._report(
                Progress(
                    self.reader.done_s,
                    self._total_s,
                    partial.size_bytes,
                    partial.watermark_bytes,
                    self.reader.speed,
                )
            )

    async def _watch(self, scope: anyio.CancelScope) -> None:
        # Ticks instead of two readings of a clock: time in which we were stopped ourselves, by Ctrl-Z or
        # a closed lid, then counts as one tick and not as ffmpeg's silence.
        silent_s = 0.0
        while silent_s < self._hang_s:
            await anyio.sleep(_TICK_S)
            silent_s = 0.0 if self._moved or not self._waiting else silent_s + _TICK_S
            self._moved = False
        self._hung = True
        scope.cancel()


@contextmanager
def _progress_pipe() -> Iterator[tuple[int, BinaryIO]]:
    """A pipe for ffmpeg's reports; close the writing end once it is handed on."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    try:
        with os.fdopen(write_fd, "wb", buffering=0) as writer:
            yield read_fd, writer
    finally:
        os.close(read_fd)

"""Follows what is still being written: spools a pipe, or watches a recording grow."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from ..errors import OutputError, RecordingChanged, RecordingError

if TYPE_CHECKING:
    from pathlib import Path

    from .clock import Clock
    from .supply import Growth

_READ_BYTES: Final = 1 << 20
_SYNC_EVERY_BYTES: Final = 4 << 20  # a disk takes milliseconds for a sync: rarely enough not to slow a pipe down
_SYNC_EVERY_S: Final = 0.25  # what came in is safe, and may leave, so soon after
_LOOK_EVERY_S: Final = 0.25


def make_spool(path: Path) -> None:
    """Make the file that a pipe is copied into, unless it is there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise _not_taken(path, error) from error


async def spool(growth: Growth, descriptor: int, path: Path) -> int:
    """Copy a pipe into `path` until it ends; what is synced to the disk counts as grown. Returns how much came.

    The copy goes on at the end of what is there.

    Raises:
        OutputError: the disk does not take it.
        RecordingError: the pipe cannot be read.
    """
    waits = _can_wait(descriptor)
    try:
        output = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError as error:
        raise _not_taken(path, error) from error
    try:
        total, synced = os.lseek(output, 0, os.SEEK_END), 0
        while True:
            piece = await _next_piece(descriptor, waits=waits, patient=total == synced)
            if piece:
                await anyio.to_thread.run_sync(_write, output, piece, path)
                total += len(piece)
            if total > synced and (not piece or total - synced >= _SYNC_EVERY_BYTES):
                await anyio.to_thread.run_sync(os.fsync, output)
                synced = total
                growth.reached(total)
            if piece == b"":
                return total
    finally:
        os.close(output)


async def follow(growth: Growth, path: Path, idle_s: float, clock: Clock) -> int:
    """Watch `path` grow until it has not for `idle_s`. Returns its size then.

    Raises:
        RecordingChanged: it became shorter.
        RecordingError: it cannot be looked at.
    """
    size_bytes, since_s = 0, clock.monotonic()
    while clock.monotonic() - since_s < idle_s or not size_bytes:
        try:
            now_bytes = (await anyio.Path(path).stat()).st_size
        except OSError as error:
            raise RecordingError(
                f"{path} cannot be followed: {error.strerror}",
                hint="put the file back where it was, then run the same command again",
                reason="Unreadable",
            ) from error
        if now_bytes < size_bytes:
            raise RecordingChanged(
                f"{path} shrank from {size_bytes} to {now_bytes} bytes while it was followed",
                hint="when the recording has ended, upload it without `--follow`",
            )
        if now_bytes > size_bytes:
            size_bytes, since_s = now_bytes, clock.monotonic()
            growth.reached(size_bytes)
        await clock.sleep(_LOOK_EVERY_S)
    return size_bytes


async def _next_piece(descriptor: int, *, waits: bool, patient: bool) -> bytes | None:
    """What comes next, empty at the end; None when nothing comes for a while and somebody is waiting for a sync."""
    try:
        if not waits:
            return await anyio.to_thread.run_sync(os.read, descriptor, _READ_BYTES)
        with anyio.move_on_after(None if patient else _SYNC_EVERY_S):
            await anyio.wait_readable(descriptor)
            return os.read(descriptor, _READ_BYTES)
    except OSError as error:
        raise RecordingError(f"Standard input cannot be read: {error.strerror}", reason="Unreadable") from error
    return None


def _can_wait(descriptor: int) -> bool:
    """Whether the system tells when there is something to read; of files it does not, as they always are ready."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _write(output: int, piece: bytes, path: Path) -> None:
    view = memoryview(piece)
    try:
        while view:
            view = view[os.write(output, view) :]
    except OSError as error:
        raise _not_taken(path, error) from error


def _not_taken(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"What comes in on standard input cannot be kept in {path.parent}: {error.strerror}",
        hint="make room there; what was kept is sent by `speechstream resume`",
    )

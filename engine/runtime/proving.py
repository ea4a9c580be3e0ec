"""Reads a file and says, part by part, whether it still is what its digests tell of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import anyio.from_thread
import xxhash

from ..core.proof import Comparison, Verdict, differing_spans
from ..errors import RecordingError
from ..events import Checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from ..events import Event
    from ..model import Plan

_PIECE_BYTES: Final = 4 << 20


class Reading:
    """Tells how far a thread's reading of `total_bytes` is."""

    def __init__(self, job_id: str, total_bytes: int, emit: Callable[[Event], None]) -> None:
        self._job_id = job_id
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._emit = emit

    def __call__(self, read_bytes: int) -> None:
        """So much more was read."""
        self._done_bytes += read_bytes
        event = Checked(self._job_id, self._done_bytes, self._total_bytes)
        anyio.from_thread.run_sync(self._emit, event)  # reading is a thread's; telling is the loop's


def size_of(path: Path) -> int | None:
    """The size of a file; None where there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be looked at: {error.strerror}", hint="check its permissions", reason="Unreadable"
        ) from error


def part_digests(
    path: Path, plan: Plan, wanted: Iterable[int], on_read: Callable[[int], None]
) -> Iterator[tuple[int, bytes]]:
    """The digests of `wanted` parts, those that the file is too short for left out. Blocks; little memory.

    Raises:
        RecordingError: the disk does not give them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be opened: {error.strerror}", hint="check its permissions", reason="Unreadable"
        ) from error
    try:
        for index in wanted:
            part, state = plan.part(index), xxhash.xxh3_128()
            offset = part.start
            while offset < part.stop and (piece := _read(descriptor, path, offset, part.stop - offset)):
                state.update(piece)
                offset += len(piece)
                on_read(len(piece))
            if offset == part.stop:
                yield index, state.digest()
    finally:
        os.close(descriptor)


def compare(
    side: str, path: Path, plan: Plan, expected: Mapping[int, bytes], on_read: Callable[[int], None]
) -> Comparison:
    """A file against the digests of its parts. Blocks; reads every part that something is known of.

    Raises:
        RecordingError: the disk does not give it.
    """
    size_bytes = size_of(path)
    if size_bytes is None:
        return Comparison(side, str(path), Verdict.GONE, plan.total_bytes, None, parts=plan.part_count)
    found = dict(part_digests(path, plan, sorted(expected), on_read))
    differing = differing_spans(plan, size_bytes, expected, found)
    verdict = Verdict.CHANGED if differing else Verdict.EQUAL if expected or not plan.part_count else Verdict.UNPROVED
    return Comparison(
        side,
        str(path),
        verdict,
        plan.total_bytes,
        size_bytes,
        differing,
        proved_parts=len(expected),
        parts=plan.part_count,
    )


def _read(descriptor: int, path: Path, offset: int, at_most: int) -> bytes:
    try:
        return os.pread(descriptor, min(at_most, _PIECE_BYTES), offset)
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read at byte {offset}: {error.strerror}",
            hint="copy it to a sound disk, then check the copy",
            reason="Unreadable",
        ) from error

"""Bytes to the disk while others come: in order, true to the last that was written, and in few calls."""

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from engine.devserver import memory, writing
from engine.devserver.errors import Refusal
from engine.devserver.writing import WriteBehind, write_all

pytestmark = pytest.mark.anyio
START = 7


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """An upload's file that has some bytes already."""
    path = tmp_path / "upload"
    path.write_bytes(b"x" * START)
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def content(file: int) -> bytes:
    """What came after those."""
    return os.pread(file, 1 << 20, START)


@pytest.mark.parametrize("most_bytes", [1, 3, 4, 100])
def test_chunks_are_written_whole_however_little_a_call_takes(
    file: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is nearly full, or a signal, may end a call in the middle of any chunk."""

    def little(descriptor: int, chunks: Sequence[memoryview], at: int) -> int:
        return os.pwrite(descriptor, b"".join(chunks)[:most_bytes], at)

    monkeypatch.setattr(os, "pwritev", little)
    write_all(file, [b"abc", b"", b"d", b"efghi"], START, None)
    assert content(file) == b"abcdefghi"


async def test_pieces_arrive_in_order(file: int) -> None:
    """The next is taken while the one before is still being written; `end` never says more than is there."""
    behind = WriteBehind(file, START, None)
    for number in range(100):
        await behind.take([b"%02d" % number, b";"])
        assert START <= behind.end <= START + 3 * number
    await behind.done()
    assert behind.end == START + 300
    assert content(file) == b"".join(b"%02d;" % number for number in range(100))


async def test_a_full_disk_is_told_with_what_was_written(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The piece that found no room counts for nothing, and what came before it counts."""
    behind = WriteBehind(file, START, None)
    await behind.take([b"there"])
    await behind.done()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwritev", full)
    await behind.take([b"not there"])
    with pytest.raises(Refusal) as caught:
        await behind.take([b"never tried"])
    await behind.let_go()
    assert caught.value.status == 507
    assert behind.end == START + len(b"there")


async def test_who_is_interrupted_waits_for_what_is_being_written(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be called back: the file belongs to nobody else before it has ended."""
    begun, go = threading.Event(), threading.Event()

    def slowly(*arguments: object) -> None:
        begun.set()
        go.wait(10)
        write_all(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(writing, "write_all", slowly)
    behind = WriteBehind(file, START, None)
    with anyio.CancelScope() as scope:
        await behind.take([b"late"])
        await anyio.to_thread.run_sync(begun.wait, 10)
        scope.cancel()
        threading.Timer(0.05, go.set).start()
        try:
            await behind.done()
        finally:
            await behind.let_go()
            assert content(file) == b"late"
    assert scope.cancelled_caught
    assert behind.end == START + len(b"late")


def test_freed_memory_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As glibc is asked for it; another C library, which cannot be asked, is left alone."""
    asked: list[tuple[int, int]] = []

    class Glibc:
        def mallopt(self, what: int, value: int) -> None:
            asked.append((what, value))

    for library in (Glibc(), object()):
        monkeypatch.setattr("ctypes.CDLL", lambda _, library=library: library)
        memory.keep_what_was_freed()
    assert asked == [(-3, 4 << 20), (-1, memory.KEPT_BYTES)]

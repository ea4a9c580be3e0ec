"""Pipes that are spooled and files that are followed while they grow."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from engine.errors import OutputError, RecordingChanged, RecordingError
from engine.runtime.clock import SystemClock
from engine.runtime.growing import follow, make_spool, spool
from engine.runtime.supply import WORTH_SENDING_BYTES, WORTH_WAITING_S, Growth

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.world import FakeClock

pytestmark = pytest.mark.anyio
CONTENT = bytes(range(256)) * 40_000  # more than a pipe holds, more than one sync


async def feed(descriptor: int, *pieces: bytes) -> None:
    """Write into a pipe and close it."""
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        for piece in pieces:
            await anyio.to_thread.run_sync(pipe.write, piece)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a pipe is spooled."""
    path = tmp_path / "spool" / "input"
    make_spool(path)
    return path


async def test_a_pipe_is_spooled_to_its_end(path: Path) -> None:
    """Every byte is in the file, in order, and counts as grown once it is."""
    growth, (reader, writer) = Growth(SystemClock()), os.pipe()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed, writer, CONTENT)
        assert await spool(growth, reader, path) == len(CONTENT)
    os.close(reader)
    assert path.read_bytes() == CONTENT
    assert growth.stop == len(CONTENT)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_comes_slowly_may_leave_before_the_end(path: Path) -> None:
    """Bytes count as grown while the pipe is still open: nobody waits for four megabytes of speech."""
    growth, (reader, writer) = Growth(SystemClock()), os.pipe()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool, growth, reader, path)
        os.write(writer, b"a word")
        await growth.wait_beyond(0)
        assert growth.stop == 6
        os.close(writer)
    os.close(reader)


@pytest.mark.parametrize("content", [b"", CONTENT])
async def test_a_file_on_standard_input_is_read_like_a_pipe(path: Path, tmp_path: Path, content: bytes) -> None:
    """No poller takes a regular file or /dev/null; they are read all the same."""
    source = tmp_path / "source"
    source.write_bytes(content)
    with source.open("rb") as file:
        assert await spool(Growth(SystemClock()), file.fileno(), path) == len(content)
    assert path.read_bytes() == content


async def test_the_spool_goes_on_where_it_was(path: Path, tmp_path: Path) -> None:
    """What is there is not written over."""
    path.write_bytes(b"before ")
    (tmp_path / "rest").write_bytes(b"after")
    with (tmp_path / "rest").open("rb") as file:
        assert await spool(Growth(SystemClock()), file.fileno(), path) == 12
    assert path.read_bytes() == b"before after"


async def test_a_full_disk_is_told_with_what_is_kept(path: Path) -> None:
    """The error names the folder, and what came in before stays there."""
    path.unlink()
    path.symlink_to("/dev/full")
    (path.parent / "rest").write_bytes(CONTENT)
    with (path.parent / "rest").open("rb") as file, pytest.raises(OutputError, match="No space left") as raised:
        await spool(Growth(SystemClock()), file.fileno(), path)
    assert "speechstream resume" in (raised.value.hint or "")


def then(clock: FakeClock, *acts: Callable[[], object]) -> None:
    """Let each second of the clock begin with the next act."""
    sleep, left = clock.sleep, list(acts)

    async def sleeping(seconds: float) -> None:
        before = int(clock.now_s)
        await sleep(seconds)
        if int(clock.now_s) > before and left:
            left.pop(0)()

    clock.sleep = sleeping  # type: ignore[method-assign]  # the world moves while the follower sleeps


async def test_a_recording_is_followed_until_it_no_longer_grows(tmp_path: Path, clock: FakeClock) -> None:
    """Pauses shorter than the idle time are part of the recording."""
    path, growth = tmp_path / "growing.wav", Growth(clock)
    path.write_bytes(b"")
    seen: list[int] = []

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"12345")
        seen.append(growth.stop)

    def pause() -> None:
        """Nothing is said."""

    then(clock, pause, pause, pause, grow, grow, pause, grow, grow)
    assert await follow(growth, path, 3.0, clock) == 20
    assert seen == [0, 5, 10, 15]
    assert growth.stop == 20


async def test_a_recording_that_shrinks_while_it_is_followed_is_told(tmp_path: Path, clock: FakeClock) -> None:
    """Both sizes are named."""
    path = tmp_path / "growing.wav"
    path.write_bytes(b"12345")
    then(clock, partial(os.truncate, path, 2))
    with pytest.raises(RecordingChanged, match="shrank from 5 to 2"):
        await follow(Growth(clock), path, 3.0, clock)


async def test_a_recording_that_vanishes_while_it_is_followed_is_told(tmp_path: Path, clock: FakeClock) -> None:
    """An unplugged disk is the recording's error, with the way on."""
    path = tmp_path / "growing.wav"
    path.write_bytes(b"12345")
    then(clock, path.unlink)
    with pytest.raises(RecordingError, match="cannot be followed"):
        await follow(Growth(clock), path, 3.0, clock)


@pytest.mark.parametrize("why", ["there is more", "a second has passed", "it is all there is"])
async def test_little_waits_for_more_but_not_for_long(clock: FakeClock, why: str) -> None:
    """A request for a few bytes is put off until there are more, or a second has passed, or it is all there is."""
    growth, gone = Growth(clock, stop=10), anyio.Event()

    async def ask() -> None:
        await growth.wait_beyond(0)
        gone.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        growth.reached(20)
        await anyio.wait_all_tasks_blocked()
        assert not gone.is_set()
        match why:
            case "there is more":
                growth.reached(WORTH_SENDING_BYTES)
            case "a second has passed":
                clock.now_s += WORTH_WAITING_S
                growth.reached(30)
            case _:
                growth.end()
        await anyio.wait_all_tasks_blocked()
        assert gone.is_set()


async def test_behind_the_end_nothing_is_waited_for(clock: FakeClock) -> None:
    """Whoever asks for bytes that will never come is told so at once."""
    growth = Growth(clock, stop=10)
    growth.end()
    with anyio.fail_after(10):
        await growth.wait_beyond(1 << 40)

"""The pipes between children and us."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import pytest

from preprocess.child import Limits, leashed
from preprocess.pipes import pipe

pytestmark = pytest.mark.anyio


async def test_all_that_was_written_is_read() -> None:
    """A pipe gives what was written, in order, and ends with its last writer."""
    with pipe() as (reader, writer):
        another = os.dup(writer.fileno())
        writer.write(b"first ")
        writer.close()
        os.write(another, b"second")
        os.close(another)

        assert b"".join([piece async for piece in reader]) == b"first second"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a pipe is as wide as the system makes it")
async def test_child_does_not_stand_still_at_once() -> None:
    """A child has ended although nobody has read a byte of the half megabyte that it wrote."""
    command = [sys.executable, "-I", "-S", "-c", "import os; os.write(1, bytes(1 << 19))"]

    async with leashed(command, Limits(cpu_s=5)) as child:
        assert await child.wait() == 0
        assert sum([len(piece) async for piece in child.output]) == 1 << 19


async def test_nothing_is_left_open() -> None:
    """Both ends are closed when the block is left."""
    with pipe() as (_, writer):
        ends = os.fstat(writer.fileno())

    assert not any(is_same(number, ends) for number in range(64))


def is_same(number: int, status: os.stat_result) -> bool:
    """Whether a descriptor of ours is the file of that status."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(number), status)
    return False

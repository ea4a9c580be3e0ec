from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from preprocess.encoders import Encoders, shared

pytestmark = pytest.mark.anyio


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def test_the_recording_that_was_begun_first_goes_first() -> None:
    """Whoever asked first: of what waits, the pieces of the earliest recording are encoded, in their order."""
    encoders, went, release = Encoders(2), list[tuple[int, int]](), anyio.Event()
    first, second = encoders.begin(), encoders.begin()

    async def encode(recording: int, piece: int) -> None:
        async with encoders.place(recording, piece):
            went.append((recording, piece))
            await release.wait()

    async with anyio.create_task_group() as tasks:
        for recording, piece in ((second, 0), (second, 1), (second, 2), (first, 1), (first, 0), (second, 3)):
            tasks.start_soon(encode, recording, piece)
            await settle()
        assert went == [(second, 0), (second, 1)], "nobody waits while a place is free"
        release.set()
    assert went[2:] == [(first, 0), (first, 1), (second, 2), (second, 3)]


async def test_never_more_than_there_are_places() -> None:
    """Also when pieces fail or are given up, before their turn, in it, and in the moment it comes."""
    encoders, at_work, most = Encoders(3), 0, 0

    async def encode(number: int) -> None:
        nonlocal at_work, most
        with anyio.CancelScope() as scope:
            if number % 4 == 0:
                scope.cancel()
            async with encoders.place(number, 0):
                at_work += 1
                most = max(most, at_work)
                try:
                    await settle()
                    if number % 4 == 1:
                        scope.cancel()
                    await settle()
                finally:
                    at_work -= 1

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(encode, number)
    assert (most, at_work, encoders.places) == (3, 0, 3)


async def test_a_place_that_comes_too_late_goes_to_the_next() -> None:
    """A turn given to somebody who was cancelled in that moment is not lost."""
    encoders = Encoders(1)
    async with anyio.create_task_group() as tasks:

        async def give_up(scope: anyio.CancelScope) -> None:
            with scope:
                async with encoders.place(1, 0):
                    await anyio.lowlevel.checkpoint()

        scope = anyio.CancelScope()
        async with encoders.place(0, 0):
            tasks.start_soon(give_up, scope)
            await settle()
        scope.cancel()
    with anyio.fail_after(5):
        async with encoders.place(2, 0):
            assert encoders.places == 0


async def test_all_of_one_event_loop_share_them() -> None:
    """However many recordings are prepared at once."""
    assert shared(2) is shared(7)
    assert shared(5).places == 2

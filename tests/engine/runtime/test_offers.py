"""What servers offer, asked before anybody has to know."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from engine.faults import Interrupted
from engine.runtime.exchange import Exchanger
from engine.runtime.offers import Offers
from tests.engine.world import Act, Script, answers, breaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.engine.world import FakeClock

pytestmark = pytest.mark.anyio
URL = "https://speech.example/v1/uploads"
TUS = answers(204, tus_resumable="1.0.0", tus_version="1.0.0", tus_extension="creation")
NO_TUS = answers(404)
BROKEN = breaks(httpx.ReadError("gone"))


@asynccontextmanager
async def asking(clock: FakeClock, *acts: Act) -> AsyncIterator[tuple[Offers, Script]]:
    """Servers that answer so."""
    script = Script(*acts)
    exchanger = Exchanger(clock, user_agent="test", transport=script)
    yield Offers(exchanger), script
    await exchanger.aclose()


async def test_what_was_asked_ahead_is_not_asked_again(clock: FakeClock) -> None:
    """But given out once: who asks later wants to know what holds then."""
    async with asking(clock, TUS, NO_TUS, NO_TUS) as (offers, script):
        await offers.ask_ahead(URL)
        found = await offers.of(URL)
        assert found is not None
        assert found.extensions == {"creation"}
        assert len(script.seen) == 1
        assert await offers.of(URL) is None
        assert script.over


async def test_another_address_is_another_question(clock: FakeClock) -> None:
    """Nothing is known of it."""
    async with asking(clock, TUS, NO_TUS, NO_TUS) as (offers, script):
        await offers.ask_ahead(URL)
        assert await offers.of("https://tus.example/files") is None
        assert script.over


async def test_a_question_under_way_is_waited_for(clock: FakeClock) -> None:
    """Who needs the answer meanwhile puts no second one."""
    go_on = anyio.Event()

    async def slowly(request: httpx.Request) -> httpx.Response:
        await go_on.wait()
        return await TUS(request)

    async with asking(clock, slowly) as (offers, script), anyio.create_task_group() as tasks:
        tasks.start_soon(offers.ask_ahead, URL)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(offers.of, URL)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert len(script.seen) == 1


async def test_a_fault_is_theirs_who_need_the_answer(clock: FakeClock) -> None:
    """Nobody else is disturbed by it, and the next question is a new one."""
    async with asking(clock, BROKEN, TUS) as (offers, _):
        await offers.ask_ahead(URL)
        with pytest.raises(Interrupted):
            await offers.of(URL)
        assert await offers.of(URL) is not None


async def test_a_question_that_was_given_up_says_nothing(clock: FakeClock) -> None:
    """It must not pass for the answer that there is no tus."""

    async def never(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with asking(clock, never) as (offers, _):
        with anyio.move_on_after(0.01):
            await offers.ask_ahead(URL)
        with pytest.raises(Interrupted):
            await offers.of(URL)

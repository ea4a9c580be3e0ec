"""Signals that come while a command works, and in the moment in which it has done its work."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import anyio
import pytest

from engine.cli.signals import run_until_signalled, survive_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _as_in_a_command() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    survive_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_work_is_cancelled_in_order(number: signal.Signals) -> None:
    """What it has begun it may end."""
    ended: list[str] = []

    async def work() -> None:
        try:
            signal.raise_signal(number)
            await anyio.sleep(10)
        finally:
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        run_until_signalled(work)
    assert ended == ["in order"]


@pytest.mark.parametrize("number", ENDING)
def test_what_is_done_is_not_undone(number: signal.Signals) -> None:
    """A signal between the last step and the loop's end is too late, and no fault of ours."""

    async def waits() -> None:
        await anyio.sleep(10)

    async def work() -> str:
        beside = asyncio.create_task(waits())  # the loop has something to cancel when it closes
        await anyio.lowlevel.checkpoint()
        beside.cancel()
        asyncio.get_running_loop().call_soon(signal.raise_signal, number)
        return "done"

    assert run_until_signalled(work) == "done"


def test_a_second_interruption_is_impatience() -> None:
    """Who presses Ctrl-C again waits for nothing; who sends TERM again has said it already."""

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            await anyio.sleep(10)
        finally:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        run_until_signalled(work)


def test_an_ignored_signal_stays_ignored() -> None:
    """As in a script's background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def work() -> str:
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep(0.01)
        return "done"

    assert run_until_signalled(work) == "done"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN

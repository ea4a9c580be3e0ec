"""Work side by side ends with one error, and long waits say what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from engine.errors import InternalError, KeyRejected, ServiceError
from engine.events import Waiting
from engine.faults import Unauthorized
from engine.runtime import together as module
from engine.runtime.together import explained, together

if TYPE_CHECKING:
    from tests.engine.world import Events

pytestmark = pytest.mark.anyio
WHY = Waiting("k3f9qz", "the server puts the lanes together", None)


async def fails(error: Exception, cause: Exception | None = None) -> None:
    """A task that ends badly."""
    raise error from cause


async def all_at_once(*errors: Exception) -> None:
    """A group whose tasks all end badly."""
    async with together() as tasks:
        for error in errors:
            tasks.start_soon(fails, error)


async def beside_a_task(error: Exception) -> None:
    """A block that ends badly itself."""
    async with together() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        raise error


async def test_one_error_comes_out_as_it_went_in() -> None:
    """Not in a group, and with the cause that its message may name."""
    fault = Unauthorized("401")
    with pytest.raises(KeyRejected) as raised:
        async with together() as tasks:
            tasks.start_soon(fails, KeyRejected("no"), fault)
    assert raised.value.__cause__ is fault


@pytest.mark.parametrize("order", [1, -1])
async def test_a_fault_of_ours_outweighs_what_was_meant(order: int) -> None:
    """Whoever reads one error must not miss the one that needs a report."""
    errors = [ServiceError("the service said no"), ZeroDivisionError()][::order]
    with pytest.raises(ZeroDivisionError):
        await all_at_once(*errors)


async def test_an_error_of_the_block_itself_comes_out_too() -> None:
    """The tasks beside it are cancelled."""
    with pytest.raises(InternalError):
        await beside_a_task(InternalError("ours"))


async def test_a_long_wait_is_explained_and_a_short_one_is_not(told: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who waits is told, once."""
    monkeypatch.setattr(module, "SAID_AFTER_S", 0.0)
    async with explained(told.append, WHY):
        pass
    assert told == []
    async with explained(told.append, WHY):
        while not told:
            await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()
    assert told == [WHY]


async def test_the_error_of_an_explained_wait_is_its_own(told: Events) -> None:
    """What is waited for fails as if nobody had explained anything."""
    with pytest.raises(ServiceError, match="no"):
        async with explained(told.append, WHY):
            raise ServiceError("no")

"""Work side by side: task groups that end with one error, and waits that say what they are for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc

from ..errors import SpeechStreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ..events import Event

SAID_AFTER_S: Final = 3.0  # who waits longer without a word thinks of Ctrl-C


@asynccontextmanager
async def together() -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group whose end is the gravest error of its tasks, with its cause, and not a group of them."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        gravest = next((error for error in errors if not isinstance(error, SpeechStreamError)), errors[0])
        raise gravest from gravest.__cause__


@asynccontextmanager
async def explained(emit: Callable[[Event], None], event: Event) -> AsyncIterator[None]:
    """Tell `event` when the block takes longer than a moment."""

    async def tell() -> None:
        await anyio.sleep(SAID_AFTER_S)
        emit(event)

    async with together() as tasks:
        tasks.start_soon(tell)
        yield
        tasks.cancel_scope.cancel()


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error

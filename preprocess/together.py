"""Tasks side by side that end with one error instead of a group of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from .errors import PreprocessError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@asynccontextmanager
async def together() -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group whose end is the gravest error of its tasks: a defect of ours, if there is one."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        gravest = next((error for error in errors if not isinstance(error, PreprocessError)), errors[0])
        raise gravest from gravest.__cause__


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error

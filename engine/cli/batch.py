"""Works through several recordings: a few on the line, all waiting at once, answers in the order given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..errors import ExitCode, InternalError, SpeechStreamError
from .session import Reported, run, tell_error, tell_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ..client import Client
    from .options import Common

Item = TypeVar("Item", Path, str)
S = TypeVar("S")
T = TypeVar("T")
ABREAST: Final = 4  # enough to encode one, send another, and look into a third; encoders and lanes are shared anyway


def each(
    options: Common,
    items: Sequence[Item],
    transfer: Callable[[Client, Item], Awaitable[S]],
    finish: Callable[[Client, S], Awaitable[T]],
    show: Callable[[T], None],
) -> None:
    """For every item: `transfer`, a few at once, then `finish` what came of it beside the others; `show` in order.

    A file that fails does not stop the others: each failure is told when it happens, and the command ends with the
    exit code of the gravest.

    Raises:
        SpeechStreamError: the only file failed.
        Reported: some of several failed.
    """
    import anyio

    batch = _Batch([str(item) for item in items], show)

    async def one(client: Client, index: int, line: anyio.Semaphore) -> None:
        try:
            async with line:
                transferred = await transfer(client, items[index])
            batch.results[index] = await finish(client, transferred)
        except SpeechStreamError as error:
            if len(items) == 1:
                raise
            batch.failed(index, error)
        except Exception as error:
            if len(items) == 1:
                raise
            tell_fault(error)
            batch.failed(index, InternalError(f"{type(error).__name__}; the trace is above"))
        batch.show_what_is_ready()

    async def work(client: Client) -> None:
        line = anyio.Semaphore(ABREAST)
        if len(items) == 1:
            return await one(client, 0, line)
        async with anyio.create_task_group() as tasks:
            for index in range(len(items)):
                tasks.start_soon(one, client, index, line)
        return None

    run(options, work)
    if batch.failures:
        raise Reported(gravest([error.exit_code for error in batch.failures.values()]))


class _Batch(Generic[T]):
    """Results and failures so far, shown in the order of the files."""

    def __init__(self, names: Sequence[str], show: Callable[[T], None]) -> None:
        self.results: dict[int, T] = {}
        self.failures: dict[int, SpeechStreamError] = {}
        self._names = names
        self._show = show
        self._shown = 0

    def failed(self, index: int, error: SpeechStreamError) -> None:
        self.failures[index] = error
        tell_error(error, about=str(self._names[index]))

    def show_what_is_ready(self) -> None:
        while self._shown in self.results or self._shown in self.failures:
            index, self._shown = self._shown, self._shown + 1
            if index in self.results:
                try:
                    self._show(self.results[index])
                except SpeechStreamError as error:
                    if len(self._names) == 1:
                        raise
                    self.failed(index, error)


async def as_it_is(client: Client, result: T) -> T:
    """The `finish` of commands that are done when the transfer is."""
    del client
    return result


def gravest(codes: Sequence[ExitCode]) -> ExitCode:
    """Ours before the user's before what only needs another try."""
    for code in (ExitCode.OURS, ExitCode.USER, ExitCode.RESUMABLE):
        if code in codes:
            return code
    return codes[0]

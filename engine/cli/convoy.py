"""Takes many recordings to the service at once: some are encoded and sent, others wait for their turn meanwhile.

Each passes three gates. `ABREAST` recordings are being prepared and sent; a free place goes to the next one listed, so
nothing is begun that cannot be gone on with. What has been sent waits in a short line for one of the few submissions
that the service takes a minute: long enough that no turn is idle, short enough that no thousand uploads lie there
unfinished. And what is submitted, where its transcript is wanted, is waited for by the side.

Results are shown as they come, or in an order that was given: then one that comes early is kept until all before it
have been shown, or have failed.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
from msgspec import Struct, field

from ..core.pacing import UPLOADS_PER_KEY
from ..errors import ConfigError, GaveUp, InternalError, KeyRejected, OutputError, SpeechStreamError, StateError
from ..events import Counted
from ..progress import aside
from ..runtime.together import together
from .batch import ABREAST
from .session import tell_error, tell_fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from ..client import Client
    from ..errors import ExitCode
    from ..model import Receipt
    from ..runtime.folder import Found

T = TypeVar("T")
_IN_LINE: Final = 2 * UPLOADS_PER_KEY.calls  # two minutes of turns
_AWAITED: Final = 1000  # transcripts; a second task each, which is mostly asleep
_REMEMBERED: Final = 100  # failures that are told once more at the end
_CONCERNS_ALL: Final = (KeyRejected, ConfigError, OutputError, StateError, GaveUp)  # the next one would fail as well


class Tally(Struct):
    """What came of the recordings so far. `failures` are the first of them, by name."""

    done: int = 0
    codes: Counter[ExitCode] = field(default_factory=Counter)
    failures: list[tuple[str, SpeechStreamError]] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.codes.total()

    @property
    def counted(self) -> int:
        """How many came to an end, good or bad."""
        return self.done + self.failed

    def add(self, about: str, error: SpeechStreamError) -> None:
        """Count a failure, and remember it if there are not too many."""
        self.codes[error.exit_code] += 1
        if len(self.failures) < _REMEMBERED:
            self.failures.append((about, error))


class Convoy(Generic[T]):
    """Works through recordings; `finish` makes the result of a submission, `show` prints it.

    `failed`, where it is given, is asked of each failure whether it was dealt with: then it is neither told nor
    counted, and does not end the convoy. `skips` is asked of what the service has already whether that is all that is
    wanted. `order`, where it is given, has every path that `take` will come to, once.
    """

    def __init__(
        self,
        client: Client,
        finish: Callable[[Client, Receipt], Awaitable[T]],
        show: Callable[[T], None],
        failed: Callable[[Path, SpeechStreamError], bool] | None = None,
        skips: Callable[[Path], bool] | None = None,
        order: Iterable[Path] = (),
    ) -> None:
        self.tally = Tally()
        self.total: int | None = None
        self._client = client
        self._finish = finish
        self._show = show
        self._failed = failed
        self._skips = skips
        self._order = deque(order)
        self._early: dict[Path, list[T]] = {}
        self._begun = anyio.Semaphore(ABREAST)
        self._in_line = anyio.Semaphore(_IN_LINE)
        self._awaited = anyio.Semaphore(_AWAITED)

    async def take(self, recordings: AsyncIterable[Found]) -> None:
        """Take all of them to the end; each is asked for when there is a place for it.

        Raises:
            SpeechStreamError: what concerns the others too; all that was committed is kept.
        """
        async with together() as tasks:
            async for found in recordings:
                receipt = self._client.taken(found.path, found.facts) if found.facts is not None else None
                if receipt is None:
                    await self._begun.acquire()
                    tasks.start_soon(self._through, found.path)
                elif self._skips is None or not self._skips(found.path):
                    await self._awaited.acquire()
                    tasks.start_soon(self._onward, found.path, receipt)

    def tell(self) -> None:
        """Tell how far the whole has come."""
        self._client.tell(Counted(self.tally.done, self.tally.failed, self.total))

    async def _through(self, path: Path) -> None:
        """Bring a recording to the service; its place among those that are begun is free when it has been sent."""
        receipt = None
        with self._failing(path):
            try:
                job_id = await self._client.bring(path)
                await self._in_line.acquire()
            finally:
                self._begun.release()
            try:
                receipt = await self._client.submit(job_id)
            finally:
                self._in_line.release()
        if receipt is None:
            self._came(path, [])
        else:
            await self._awaited.acquire()
            await self._onward(path, receipt)

    async def _onward(self, path: Path, receipt: Receipt) -> None:
        """Wait for what is wanted of a recording that the service has, and show it."""
        found: list[T] = []
        with self._failing(path):
            try:
                found.append(await self._finish(self._client, receipt))
            finally:
                self._awaited.release()
        self._came(path, found)

    def _came(self, path: Path, results: list[T]) -> None:
        """This is what came of a recording, nothing where it failed."""
        if not self._order:
            self._print(path, results)
            return
        self._early[path] = results
        while self._order and self._order[0] in self._early:
            due = self._order.popleft()
            self._print(due, self._early.pop(due))

    def _print(self, path: Path, results: list[T]) -> None:
        for result in results:
            try:
                self._show(result)
            except SpeechStreamError as error:
                self.fail(path, error)
            else:
                self.tally.done += 1
                self.tell()

    @contextmanager
    def _failing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except _CONCERNS_ALL as error:
            if not self._is_dealt_with(path, error):
                raise
        except SpeechStreamError as error:
            self.fail(path, error)
        except Exception as error:  # noqa: BLE001 - our own fault with one recording is no reason to leave the others
            tell_fault(error)
            self.fail(path, InternalError(f"{type(error).__name__}; the trace is above"))

    def fail(self, path: Path, error: SpeechStreamError) -> None:
        """Tell and count a failure, unless it was dealt with."""
        if self._is_dealt_with(path, error):
            return
        with aside():
            tell_error(error, about=str(path))
        self.tally.add(str(path), error)
        self.tell()

    def _is_dealt_with(self, path: Path, error: SpeechStreamError) -> bool:
        return self._failed is not None and self._failed(path, error)

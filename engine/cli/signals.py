"""What signals do to a command: end it in order while it works, and nothing once it has."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Final, TypeVar

from . import garbage

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

T = TypeVar("T")
_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def survive_signals() -> None:
    """Let TERM and HUP end a command as Ctrl-C does: in order, and resumable."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has it ignored
            signal.signal(number, interrupt)


def outlive_signals() -> None:
    """Let no signal undo what was done and told: while it ends, the interpreter takes our handlers away."""
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)


def run_until_signalled(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in an event loop; INT, TERM and HUP cancel it there. A second Ctrl-C does not wait for that.

    An exception out of a signal handler hits anything, such as a thread half started, for whose end the interpreter
    then waits for ever. asyncio spares Ctrl-C that until the work is done; then it raises one into its own loop, which
    trips over it ("Event loop stopped before Future completed"). So the signal is ours.

    Raises:
        KeyboardInterrupt: it was cancelled so.
    """
    import asyncio

    import anyio

    garbage.working()
    interruption = _Interruption()

    async def watched() -> T:
        interruption.begins(asyncio.get_running_loop(), asyncio.current_task())
        return await work()

    with interruption.heard():
        try:
            return anyio.run(watched)
        except asyncio.CancelledError:
            if interruption.came:
                raise KeyboardInterrupt from None
            raise


class _Interruption:
    """The first of the signals that end a command; later ones change nothing, but a Ctrl-C out of impatience."""

    def __init__(self) -> None:
        self.came = False
        self._loop: AbstractEventLoop | None = None
        self._task: Task[object] | None = None

    def begins(self, loop: AbstractEventLoop, task: Task[object] | None) -> None:
        """There is a task to be cancelled now."""
        self._loop, self._task = loop, task

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear signals until the end of the block, those that were not ignored before."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
        heard = [number for number, handler in before.items() if callable(handler)]
        for number in heard:
            signal.signal(number, self._hear)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number])

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        loop, task = self._loop, self._task
        if loop is None or task is None:
            raise KeyboardInterrupt
        if loop.is_closed() or task.done():
            return
        if not self.came:
            self.came = True
            loop.call_soon_threadsafe(task.cancel)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

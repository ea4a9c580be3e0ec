"""Starts the real command in a process whose clocks may be bent, and which tells where it stands when asked.

    python tests/faults/chaos/launcher.py '[[0.5, 3600.0, 3600.0]]' upload recording.wav

The first argument lists jumps: seconds after the start, and by how much the wall clock and the clock that goes on while
the machine sleeps (CLOCK_BOOTTIME) leave their course then. SIGUSR1 writes every task's and thread's stack to stderr.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType


def bend(jumps: Sequence[tuple[float, float, float]]) -> None:
    """Let this process read clocks that jump."""
    began_s = time.monotonic()
    wall, clock_gettime = time.time, time.clock_gettime

    def gone(which: int) -> float:
        age_s = time.monotonic() - began_s
        return sum(jump[which] for jump in jumps if jump[0] <= age_s)

    def bent_wall() -> float:
        return wall() + gone(1)

    def bent_clock(clock: int) -> float:
        shift = {time.CLOCK_REALTIME: 1, time.CLOCK_BOOTTIME: 2}.get(clock)
        return clock_gettime(clock) + (gone(shift) if shift else 0.0)

    time.time = bent_wall
    time.clock_gettime = bent_clock
    time.time_ns = lambda: int(bent_wall() * 1e9)
    time.clock_gettime_ns = lambda clock: int(bent_clock(clock) * 1e9)


def tell_where(number: int, frame: FrameType | None) -> None:
    """Write all stacks: the threads' and, where an event loop runs, its tasks'."""
    del number, frame
    faulthandler.dump_traceback(all_threads=True)
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs in this thread
        return
    for task in tasks:
        sys.stderr.write(f"task {task.get_name()}\n")
        sys.stderr.writelines(f"  {line}\n" for line in _awaited(task.get_coro()))
    sys.stderr.flush()


def _awaited(work: object) -> Iterator[str]:
    """Where a coroutine stands, what it awaits, and so on down."""
    while work is not None:
        names = ("cr", "gi", "ag")
        frame = next((getattr(work, f"{name}_frame") for name in names if getattr(work, f"{name}_frame", None)), None)
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}" if frame else repr(work)
        awaited = (getattr(work, f"{kind}", None) for kind in ("cr_await", "gi_yieldfrom", "ag_await"))
        work = next((one for one in awaited if one is not None), None)


def main() -> None:
    """Bend the clocks, then be the command."""
    jumps = json.loads(sys.argv.pop(1))
    if jumps:
        bend(jumps)
    signal.signal(signal.SIGUSR1, tell_where)
    from engine.cli import main as command

    sys.argv[0] = "speechstream"
    command()


if __name__ == "__main__":
    main()

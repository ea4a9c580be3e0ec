"""The row of slices: what comes of one task's failure while the others are busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from preprocess import Ffmpeg, probe
from preprocess.child import Limits
from preprocess.parallel import ParallelEncoding, _Slot
from preprocess.partial import Diverged
from preprocess.recipes import RECIPES
from preprocess.run import FfmpegRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio


async def test_the_writer_s_failure_is_the_one_that_is_told(
    ffmpeg: Ffmpeg, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder gives out a slice in the moment in which the writer is gone and nobody was stopped yet."""
    failing = anyio.Event()

    async def fail(_: ParallelEncoding, __: _Slot) -> None:
        failing.set()
        raise Diverged("it sounds other than before")

    async def fill(_: ParallelEncoding, slot: _Slot) -> None:
        slot.done.set()

    async def run(_: FfmpegRun, __: object, ___: Limits, take: Callable[[bytes], Awaitable[None]]) -> None:
        minute = bytes(60 * 48_000 * 2)
        await take(minute)
        await take(minute)
        await failing.wait()
        await take(minute)
        await anyio.sleep_forever()

    monkeypatch.setattr(ParallelEncoding, "_write", fail)
    monkeypatch.setattr(ParallelEncoding, "_fill", fill)
    monkeypatch.setattr(FfmpegRun, "run", run)
    info = await probe(pytestconfig.rootpath / "fixtures" / "spoken.wav")
    unused: Any = None
    encoding = ParallelEncoding(info, RECIPES["standard"], ffmpeg, unused, unused, workers=2)
    with pytest.raises(Diverged), anyio.fail_after(30):
        await encoding.run(Limits(1))

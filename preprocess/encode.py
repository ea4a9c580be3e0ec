"""Makes an artifact with a single ffmpeg: for recipes that are fast, or cannot be taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from .command import encode_command
from .diagnosis import diagnose
from .errors import ToolCrashed
from .run import FfmpegRun
from .together import together

if TYPE_CHECKING:
    from .child import Answer, Limits
    from .ffmpeg_binary import Ffmpeg
    from .growth import Growth
    from .log import Losses
    from .media import MediaInfo
    from .recipes import Recipe

_SYNC_S: Final = 1.0  # how much work a power cut may cost


async def encode(info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg, growth: Growth, limits: Limits) -> Losses:
    """Encode into the growing file; what an earlier run left there is made again and compared.

    Returns what of the recording could not be read.

    Raises:
        PreprocessError: ffmpeg failed, the disk did, or other bytes came out than before.
    """

    def told() -> None:
        growth.done_s, growth.speed = run.reader.done_s, run.reader.speed
        growth.tell()

    run = FfmpegRun(told)
    async with together() as tasks:
        tasks.start_soon(_keep_synced, growth)
        answer = await run.run(lambda fd: encode_command(info, recipe, ffmpeg, progress_fd=fd), limits, growth.append)
        tasks.cancel_scope.cancel()
    accept(info, run, answer)
    await growth.sync()
    growth.tell()
    return run.losses


async def _keep_synced(growth: Growth) -> None:
    """Beside the writing: a disk takes its time, and ffmpeg must not wait for it."""
    while True:
        await anyio.sleep(_SYNC_S)
        with anyio.CancelScope(shield=True):
            await growth.sync()


def accept(info: MediaInfo, run: FfmpegRun, answer: Answer) -> None:
    """Raise unless ffmpeg ended well by every account it gives."""
    if answer.status != 0:
        raise diagnose(info.path, answer.status, answer.last_words)
    said_bytes = run.reader.total_bytes
    if not run.reader.ended or (said_bytes is not None and said_bytes != run.taken_bytes):
        raise ToolCrashed(f"ffmpeg stopped before the end of {info.path.name!r}.", hint="Run the same command again.")

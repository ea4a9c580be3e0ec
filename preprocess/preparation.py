"""From a recording and a decision to a finished artifact."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from .child import Limits
from .command import essence
from .damage import complaints
from .encode import encode
from .errors import NoSpace, SourceChanged, ToolCrashed, Unsupported
from .growth import Growth
from .identification import identity
from .journal import Making
from .parallel import ParallelEncoding, worker_count
from .partial import Diverged
from .progress import Begun
from .recipes import RECIPES
from .spool import Record, Spool
from .verify import measure_s

if TYPE_CHECKING:
    from pathlib import Path

    from .decision import Decision
    from .ffmpeg_binary import Ffmpeg
    from .log import Losses
    from .media import MediaInfo
    from .partial import Partial
    from .progress import Report
    from .recipes import Recipe

_SPARE_SHARE = 1.1  # sizes are estimates
_SPARE_BYTES = 64_000_000  # other programs want to go on living
_CPU_BASE_S = 3600
_CPU_PER_S = 4  # the slowest recipe needs less than 1 s of processor per second of recording
_CPU_UNKNOWN_S = 24 * 3600

# The last net for a file on which ffmpeg moves but never ends: three times as long as the slowest recipe needs on a
# slow machine (x264 at half the speed of play), or as reading takes from a slow disk far away (1 MB/s).
_LEAST_WALL_S = 120.0
_WALL_PER_S = 3 / 0.5
_WALL_PER_BYTE = 3 / 1e6

_VIDEO_MEMORY_BYTES = 8 << 30  # decoder threads each keep a few large pictures

_MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "amr": "audio/amr",
    "avi": "video/x-msvideo",
    "asf": "video/x-ms-asf",
    "flv": "video/x-flv",
    "mpegts": "video/mp2t",
    "mpeg": "video/mpeg",
}


class Artifact(Struct, frozen=True):
    """Bytes that are ready to be sent.

    Attributes:
        path: Where they are; the recording itself if `is_source`.
        size_bytes: How many.
        media_type: Their MIME type.
        suffix: Suffix for a name that tells their format.
        recipe: Name of the recipe they were made with.
        duration_s: Playing time in seconds: measured, or as the source states it if `is_source`.
        ffmpeg_version: Version of the tool; empty if `is_source`.
        is_source: Whether this is the recording itself, unchanged.
        warnings: What the user should know, such as how many seconds could not be read.
    """

    path: Path
    size_bytes: int
    media_type: str
    suffix: str
    recipe: str
    duration_s: float | None
    ffmpeg_version: str
    is_source: bool
    warnings: tuple[str, ...] = ()


class Effort(Struct, frozen=True):
    """What may be spent on an artifact; never which bytes come out.

    Attributes:
        workers: How many encoders run at a time; None for as many as there are processors.
        waits_for_room: Whether a disk that fills up meanwhile is told (`Paused`) and waited for, instead of `NoSpace`.
    """

    workers: int | None = None
    waits_for_room: bool = False


async def prepare(
    info: MediaInfo,
    decision: Decision,
    into: Path,
    *,
    ffmpeg: Ffmpeg,
    report: Report | None = None,
    effort: Effort | None = None,
) -> Artifact:
    """Make the artifact of `info` in the folder `into`, or take the finished one that is there.

    The folder belongs to this recording and recipe. The artifact grows in `artifact.partial` there and is
    renamed when it is whole, on the disk and proved. Bytes below the watermark that `report` is told never change,
    unless it is told of another generation. However this ends, no process is left behind; after a kill the next call
    goes on where it was. The bytes are the same for any `effort`. `report` is called in the event loop, a few times a
    second; it must not raise.

    Raises:
        RecordingError: The recording cannot be decoded, or changed meanwhile.
        ToolError: ffmpeg is missing, crashed, hung or was killed.
        NoSpace: The disk is full or would be.
        OutputDenied: The folder cannot be written, or another process is preparing into it.
    """
    recipe = decision.recipe
    if not recipe.options:
        return _source_itself(info)
    making = Making(
        source=await anyio.to_thread.run_sync(partial(identity, info.path)),
        recipe=recipe.name,
        arguments=essence(info, recipe),
        ffmpeg=(ffmpeg.version, ffmpeg.build),
    )
    if making.source.size_bytes != info.size_bytes:
        raise _changed(info)
    spool = Spool(into)
    record = await anyio.to_thread.run_sync(spool.finished, making, recipe.suffix)
    if record is None:
        await anyio.to_thread.run_sync(_make_room, spool, decision.estimated_bytes)
        work = _Work(info, recipe, ffmpeg, spool, making, report, effort or Effort())
        try:
            record = await work.do()
        except Diverged:
            record = await work.once_more()
    elif report is not None:
        report(Begun(record.generation, record.size_bytes))
    return _artifact(spool, recipe, record, ffmpeg)


class _Work(Struct, frozen=True):
    """An artifact that has to be made."""

    info: MediaInfo
    recipe: Recipe
    ffmpeg: Ffmpeg
    spool: Spool
    making: Making
    report: Report | None
    effort: Effort

    async def do(self) -> Record:
        """Make it, going on where an earlier run has stopped. Raises `Diverged` where that is not possible."""
        with self.spool.partial(self.making) as growing:
            if self.report is not None:
                self.report(Begun(growing.generation, growing.watermark_bytes))
            growth = Growth(growing, self.info.audio_length_s, self.report, waits_for_room=self.effort.waits_for_room)
            losses = await self._fill(growth)
            record = await _prove(self.info, self.making, growing, losses)
            await growth.with_room(lambda: self.spool.seal(growing, record, self.recipe.suffix))
        return record

    async def once_more(self) -> Record:
        """Make it from the beginning, what was there being of no use."""
        try:
            return await self.do()
        except Diverged as error:
            raise ToolCrashed(
                f"ffmpeg makes other bytes of {self.info.path.name!r} each time.", hint="Use another ffmpeg."
            ) from error

    async def _fill(self, growth: Growth) -> Losses:
        limits = _limits(self.info, self.recipe)
        if not self.recipe.is_sliced:
            return await encode(self.info, self.recipe, self.ffmpeg, growth, limits)
        workers = self.effort.workers or worker_count()
        work = ParallelEncoding(self.info, self.recipe, self.ffmpeg, growth, self.spool.segments, workers=workers)
        return await work.run(limits)


async def _prove(info: MediaInfo, making: Making, growing: Partial, losses: Losses) -> Record:
    after = await anyio.to_thread.run_sync(partial(identity, info.path))
    if after != making.source:
        raise _changed(info)
    if growing.size_bytes == 0:
        raise _silent(info)
    length_s = await anyio.to_thread.run_sync(measure_s, growing.path, RECIPES[making.recipe].suffix)
    if length_s <= 0:
        raise _silent(info)
    warnings = await complaints(info, length_s, losses)
    return Record(making, growing.generation, growing.size_bytes, growing.digest(), length_s, warnings)


def _limits(info: MediaInfo, recipe: Recipe) -> Limits:
    cpu_s = _CPU_UNKNOWN_S if info.duration_s is None else _CPU_BASE_S + int(_CPU_PER_S * info.duration_s)
    wall_s = max(_LEAST_WALL_S, _WALL_PER_S * (info.duration_s or 0.0), _WALL_PER_BYTE * info.size_bytes)
    limits = Limits(cpu_s, wall_s=wall_s)
    return replace(limits, memory_bytes=_VIDEO_MEMORY_BYTES) if recipe.keeps_video else limits


def _make_room(spool: Spool, estimated_bytes: int) -> None:
    spool.create()
    needed = int(estimated_bytes * _SPARE_SHARE) + _SPARE_BYTES
    free = shutil.disk_usage(spool.into).free
    if free < needed:
        raise NoSpace(
            f"Preparing needs about {needed // 1_000_000} MB in {str(spool.into)!r}, "
            f"where {free // 1_000_000} MB are free.",
            hint="Free some space there and run the same command again.",
        )


def _artifact(spool: Spool, recipe: Recipe, record: Record, ffmpeg: Ffmpeg) -> Artifact:
    return Artifact(
        path=spool.artifact_path(recipe.suffix),
        size_bytes=record.size_bytes,
        media_type=recipe.media_type,
        suffix=recipe.suffix,
        recipe=recipe.name,
        duration_s=record.duration_s,
        ffmpeg_version=ffmpeg.version,
        is_source=False,
        warnings=record.warnings,
    )


def _source_itself(info: MediaInfo) -> Artifact:
    return Artifact(
        path=info.path,
        size_bytes=info.size_bytes,
        media_type=_media_type(info),
        suffix=info.path.suffix,
        recipe="as-is",
        duration_s=info.audio_length_s,
        ffmpeg_version="",
        is_source=True,
    )


def _media_type(info: MediaInfo) -> str:
    kind = "video" if info.has_video else "audio"
    if "mp4" in info.demuxers:
        return f"{kind}/mp4"
    if "matroska" in info.demuxers:
        return f"{kind}/webm" if info.path.suffix.lower() == ".webm" else f"{kind}/x-matroska"
    return _MEDIA_TYPES.get(info.format_name, "application/octet-stream")


def _changed(info: MediaInfo) -> SourceChanged:
    return SourceChanged(
        f"{info.path.name!r} changed while it was being prepared.",
        hint="Wait until the recording has ended, then run the same command again.",
    )


def _silent(info: MediaInfo) -> Unsupported:
    return Unsupported(
        f"Nothing in the audio of {info.path.name!r} could be decoded.",
        hint="Play it to check it; a repair tool may help.",
    )

"""From a recording and a decision to a finished artifact."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from .child import Answer, Limits
from .command import encode_command, essence
from .diagnosis import diagnose
from .encode import Encoding
from .errors import NoSpace, SourceChanged, ToolCrashed, Unsupported
from .identity import identity
from .recipes import RECIPES
from .spool import Making, Partial, Record, Spool
from .verify import compare, measure_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .decide import Decision
    from .ffmpeg_binary import Ffmpeg
    from .media import MediaInfo
    from .progress import Progress
    from .recipes import Recipe

_SPARE_SHARE = 1.1  # sizes are estimates
_SPARE_BYTES = 64_000_000  # other programs want to go on living
_CPU_BASE_S = 3600
_CPU_PER_S = 4  # the slowest recipe needs less than 1 s of processor per second of recording
_CPU_UNKNOWN_S = 24 * 3600
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


@dataclass(frozen=True, slots=True)
class Artifact:
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


async def prepare(
    info: MediaInfo,
    decision: Decision,
    into: Path,
    *,
    ffmpeg: Ffmpeg,
    report: Callable[[Progress], None] | None = None,
) -> Artifact:
    """Make the artifact of `info` in the folder `into`, or take the finished one that is there.

    The folder belongs to this recording and recipe. The artifact grows in `artifact.partial` there and is
    renamed when it is whole, on the disk and proved. However this ends, no process is left behind; after a
    kill the next call begins again. `report` is called in the event loop, a few times a second; it must not
    raise.

    Raises:
        RecordingError: The recording cannot be decoded, or changed meanwhile.
        ToolError: ffmpeg is missing, crashed, hung or was killed.
        NoSpace: The disk is full or would be; nothing partial is left.
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
        with spool.partial() as growing:
            filled_samples = await _fill(info, recipe, growing, ffmpeg, report)
            record = await _prove(info, making, growing, filled_samples)
            await anyio.to_thread.run_sync(spool.seal, growing, record, recipe.suffix)
    return _artifact(spool, recipe, record, ffmpeg)


async def _fill(
    info: MediaInfo,
    recipe: Recipe,
    growing: Partial,
    ffmpeg: Ffmpeg,
    report: Callable[[Progress], None] | None,
) -> int:
    """Encode into `growing`; return how many samples had to be filled with silence."""
    encoding = Encoding(growing, total_s=info.audio_length_s, report=report)
    answer = await encoding.run(lambda fd: encode_command(info, recipe, ffmpeg, progress_fd=fd), _limits(info, recipe))
    _accept(info, encoding, answer, growing.size_bytes)
    return encoding.filled_samples


def _accept(info: MediaInfo, encoding: Encoding, answer: Answer, size_bytes: int) -> None:
    """Raise unless ffmpeg ended well by every account it gives."""
    if answer.status != 0:
        raise diagnose(info.path, answer.status, answer.last_words)
    said_bytes = encoding.reader.total_bytes
    if not encoding.reader.ended or (said_bytes is not None and said_bytes != size_bytes):
        raise ToolCrashed(f"ffmpeg stopped before the end of {info.path.name!r}.", hint="Run the same command again.")


async def _prove(info: MediaInfo, making: Making, growing: Partial, filled_samples: int) -> Record:
    after = await anyio.to_thread.run_sync(partial(identity, info.path))
    if after != making.source:
        raise _changed(info)
    if growing.size_bytes == 0:
        raise _silent(info)
    length_s = await measure_s(growing.path, RECIPES[making.recipe].suffix)
    if length_s <= 0:
        raise _silent(info)
    warnings = compare(info, length_s, filled_samples)
    return Record(making, growing.size_bytes, growing.digest(), length_s, warnings)


def _limits(info: MediaInfo, recipe: Recipe) -> Limits:
    cpu_s = _CPU_UNKNOWN_S if info.duration_s is None else _CPU_BASE_S + int(_CPU_PER_S * info.duration_s)
    return Limits(cpu_s, memory_bytes=_VIDEO_MEMORY_BYTES) if recipe.keeps_video else Limits(cpu_s)


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

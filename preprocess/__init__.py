"""From a recording to the bytes worth sending: probe it, weigh the recipes, prepare it.

    from pathlib import Path
    from preprocess import Means, decide, find_ffmpeg, plan, prepare, probe

    info = await probe("meeting.mp4")
    means = Means(uplink_bits_s=5e6)
    for row in plan(info, means=means).rows:
        print(row.recipe, row.refusal or f"{row.size_bytes} bytes, {row.total_s:.1f} s")
    artifact = await prepare(info, decide(info, "auto", means), Path("spool"), ffmpeg=find_ffmpeg())

`probe` looks into the file, in a child process. `plan` and `decide` are arithmetic on what it found: they read nothing,
and say why they choose what they choose. `prepare` makes the artifact, and goes on where a kill has stopped it.

Useful alone: this package knows nothing of uploading. Media is hostile input, so libav and ffmpeg only run
in child processes with limits, a whitelist of formats, and no network.
Names are imported when first used: `identity` alone needs neither the arithmetic nor the encoders.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .channels import Mix, MixName, mix_of
    from .decision import Decision, Wish, decide
    from .errors import (
        Empty,
        Encrypted,
        NoAudio,
        NoSpace,
        NotFound,
        NotMedia,
        NotRegular,
        OutputDenied,
        PreprocessError,
        RecordingError,
        SourceChanged,
        ToolCrashed,
        ToolError,
        ToolHung,
        ToolKilled,
        ToolMissing,
        Truncated,
        Unreadable,
        Unsupported,
        WishError,
    )
    from .estimate import UNKNOWN_UPLINK_BITS_S, Means, measured_speed
    from .ffmpeg_binary import Ffmpeg, find_ffmpeg
    from .identification import SourceIdentity, identity
    from .isolation import is_isolated
    from .media import MediaInfo, Sound, StreamInfo
    from .parallel import worker_count
    from .planning import Plan, Row, Track, plan
    from .preparation import Artifact, Effort, prepare
    from .probing import probe
    from .progress import Begun, Paused, PreparingEvent, Progress
    from .recipes import RECIPES, Recipe, RecipeName
    from .spool import is_as_sealed
    from .tracks import select

_HOME: Final = {
    "Artifact": "preparation",
    "Begun": "progress",
    "Decision": "decision",
    "Effort": "preparation",
    "Empty": "errors",
    "Encrypted": "errors",
    "Ffmpeg": "ffmpeg_binary",
    "Means": "estimate",
    "MediaInfo": "media",
    "Mix": "channels",
    "MixName": "channels",
    "NoAudio": "errors",
    "NoSpace": "errors",
    "NotFound": "errors",
    "NotMedia": "errors",
    "NotRegular": "errors",
    "OutputDenied": "errors",
    "Paused": "progress",
    "Plan": "planning",
    "PreparingEvent": "progress",
    "PreprocessError": "errors",
    "Progress": "progress",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "RecipeName": "recipes",
    "RecordingError": "errors",
    "Row": "planning",
    "Sound": "media",
    "SourceChanged": "errors",
    "SourceIdentity": "identification",
    "StreamInfo": "media",
    "ToolCrashed": "errors",
    "ToolError": "errors",
    "ToolHung": "errors",
    "ToolKilled": "errors",
    "ToolMissing": "errors",
    "Track": "planning",
    "Truncated": "errors",
    "UNKNOWN_UPLINK_BITS_S": "estimate",
    "Unreadable": "errors",
    "Unsupported": "errors",
    "Wish": "decision",
    "WishError": "errors",
    "decide": "decision",
    "find_ffmpeg": "ffmpeg_binary",
    "identity": "identification",
    "is_as_sealed": "spool",
    "is_isolated": "isolation",
    "measured_speed": "estimate",
    "mix_of": "channels",
    "plan": "planning",
    "prepare": "preparation",
    "probe": "probing",
    "select": "tracks",
    "worker_count": "parallel",
}

__all__ = [
    "RECIPES",
    "UNKNOWN_UPLINK_BITS_S",
    "Artifact",
    "Begun",
    "Decision",
    "Effort",
    "Empty",
    "Encrypted",
    "Ffmpeg",
    "Means",
    "MediaInfo",
    "Mix",
    "MixName",
    "NoAudio",
    "NoSpace",
    "NotFound",
    "NotMedia",
    "NotRegular",
    "OutputDenied",
    "Paused",
    "Plan",
    "PreparingEvent",
    "PreprocessError",
    "Progress",
    "Recipe",
    "RecipeName",
    "RecordingError",
    "Row",
    "Sound",
    "SourceChanged",
    "SourceIdentity",
    "StreamInfo",
    "ToolCrashed",
    "ToolError",
    "ToolHung",
    "ToolKilled",
    "ToolMissing",
    "Track",
    "Truncated",
    "Unreadable",
    "Unsupported",
    "Wish",
    "WishError",
    "decide",
    "find_ffmpeg",
    "identity",
    "is_as_sealed",
    "is_isolated",
    "measured_speed",
    "mix_of",
    "plan",
    "prepare",
    "probe",
    "select",
    "worker_count",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__

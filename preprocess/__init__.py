"""From a recording to the bytes worth sending: probe it, decide, prepare it.

    info = await probe("meeting.mp4")
    decision = decide(info, "auto")
    artifact = await prepare(info, decision, spool_folder, ffmpeg=find_ffmpeg())

Useful alone: this package knows nothing of uploading. Media is hostile input, so libav and ffmpeg only run
in child processes with limits, a whitelist of formats, and no network.
"""

from .channels import Mix, MixName, mix_of
from .decide import Decision, Wish, decide
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
from .identity import SourceIdentity, identity
from .media import MediaInfo, Sound, StreamInfo
from .plan import Plan, Row, Track, plan
from .prepare import Artifact, Effort, prepare
from .probe import probe
from .progress import Begun, Paused, PreparingEvent, Progress
from .recipes import RECIPES, Recipe, RecipeName
from .spool import is_as_sealed
from .tracks import select

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
    "measured_speed",
    "mix_of",
    "plan",
    "prepare",
    "probe",
    "select",
]

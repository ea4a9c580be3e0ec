"""Which recipe fits a recording: a pure function that explains itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import WishError
from .recipes import AS_IS, COPY, LOSSLESS, RECIPES, STANDARD, VIDEO, Recipe, RecipeName

if TYPE_CHECKING:
    from .media import MediaInfo

Wish = Literal["auto", "standard", "lossless", "copy", "video", "as-is"]

# Containers every speech service we know of takes. Others (Matroska, AVI, AMR …) are taken by some.
_ACCEPTED = frozenset({"mp3", "wav", "flac", "ogg", "mov", "mp4", "m4a", "aac"})
_SMALL_ENOUGH = 1.2  # above this, encoding saves more upload time than it costs quality

# What ffmpeg 5.1 and 9.0 put into MP4 and players take out again.
_MP4_CODECS = frozenset({"aac", "alac", "ac3", "eac3", "mp3", "opus", "flac"})

_VIDEO_BYTES_PER_S = 40_000  # 480p, 10 pictures a second, crf 32: lively video; slides need a tenth
_LATE_S = 0.05  # a copy would move the transcript by this much before we refuse
_CONTAINER_SHARE = 1.02  # boxes and tables around copied packets


@dataclass(frozen=True, slots=True)
class Decision:
    """What will be done with a recording, and why.

    Attributes:
        recipe: The recipe to follow.
        reason: One line for a person.
        estimated_bytes: How large the artifact will be, roughly; for disk space and time estimates.
        warnings: Sentences about what the choice costs.
    """

    recipe: Recipe
    reason: str
    estimated_bytes: int
    warnings: tuple[str, ...] = ()


def decide(info: MediaInfo, wish: Wish) -> Decision:
    """Choose the recipe for `info`: the wish if there is one, else what gets the words across soonest.

    Raises:
        WishError: The recipe wished for cannot work on this recording; the hint names one that can.
        NoAudio: `info` has no audio (never the case after `probe`).
    """
    warnings = info.warnings + _track_warning(info)
    if wish == "auto":
        recipe, reason = _best(info)
        return Decision(recipe, reason, estimate_bytes(info, recipe), warnings)
    _check_wish(info, wish)
    recipe = RECIPES[wish]
    if info.channels_cancel and not recipe.decodes_audio:
        warnings += ("Left and right cancel each other out: a service that mixes them hears nothing.",)
    return Decision(recipe, f"{wish}: as asked", estimate_bytes(info, recipe), warnings)


def _best(info: MediaInfo) -> tuple[Recipe, str]:
    obstacle = _obstacle(info)
    target_bytes = estimate_bytes(info, STANDARD)
    if obstacle is None and info.size_bytes <= _SMALL_ENOUGH * target_bytes:
        return AS_IS, f"as-is: already small ({_size(info.size_bytes)}), encoding would save next to nothing"
    saving = f"{_size(target_bytes)} instead of {_size(info.size_bytes)}"
    return STANDARD, f"standard: {obstacle or 'speech needs no more'}, {saving}"


def _obstacle(info: MediaInfo) -> str | None:
    """Why the recording should not be sent as it is, however small it may be."""
    tracks = len(info.audio_streams)
    obstacles = (
        (info.has_video, "only the sound of a video is needed"),
        (info.duration_s is None, "the recording does not say how long it is"),
        (not info.demuxers & _ACCEPTED, f"not every service reads {info.format_name.partition(',')[0]}"),
        (tracks > 1, f"one of {tracks} audio tracks is needed"),
        (info.channels_cancel, "left and right cancel each other out and have to be mixed with care"),
    )
    return next((reason for stands_in_the_way, reason in obstacles if stands_in_the_way), None)


def _check_wish(info: MediaInfo, wish: RecipeName) -> None:
    name = info.path.name
    if wish == "video" and not info.has_video:
        raise WishError(f"{name!r} has no video to keep.", hint="Use the recipe `standard`.")
    if wish != "copy":
        return
    if info.audio.codec not in _MP4_CODECS:
        raise WishError(
            f"The audio of {name!r} ({info.audio.codec or 'unknown codec'}) cannot be copied into MP4.",
            hint="Use the recipe `lossless`: it loses nothing either.",
        )
    if info.audio_offset_s > _LATE_S:
        raise WishError(
            f"The audio of {name!r} begins {info.audio_offset_s:.1f} s late; a copy would lose that time.",
            hint="Use the recipe `lossless`: it keeps the time line.",
        )


def estimate_bytes(info: MediaInfo, recipe: Recipe) -> int:
    """Rough size of the artifact; the source's own size where nothing better is known."""
    length_s = info.audio_length_s
    if recipe is AS_IS or length_s is None:
        return info.size_bytes
    if recipe is COPY:
        rate = info.audio.bit_rate
        return min(info.size_bytes, int(length_s * rate / 8 * _CONTAINER_SHARE)) if rate else info.size_bytes
    if recipe is VIDEO:
        return int((info.duration_s or length_s) * _VIDEO_BYTES_PER_S)
    per_s = recipe.bytes_per_s or 0.0
    if recipe is LOSSLESS:
        rate_hz = info.audio.sample_rate_hz or 0
        per_s *= recipe.rate_hz(rate_hz) / LOSSLESS.rate_hz(1 << 30)
    return int(length_s * per_s)


def _track_warning(info: MediaInfo) -> tuple[str, ...]:
    if len(info.audio_streams) == 1:
        return ()
    position = info.audio_streams.index(info.audio) + 1
    language = f" ({info.audio.language})" if info.audio.language else ""
    return (f"Audio track {position} of {len(info.audio_streams)}{language} is used; the others are left out.",)


def _size(size_bytes: int) -> str:
    """A size for people, in decimal units."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6)):
        if size_bytes >= bytes_each:
            return f"{size_bytes / bytes_each:.1f} {unit}"
    return f"{size_bytes / 1000:.0f} kB"

"""Which recipe fits a recording: a pure function that explains itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from .errors import WishError
from .estimate import Means, Offer, estimate_bytes, estimate_prepare_s
from .recipes import AS_IS, COPY, LOSSLESS, RECIPES, SMALL, STANDARD, VIDEO, Recipe

if TYPE_CHECKING:
    from .media import MediaInfo

Wish = Literal["auto", "standard", "high", "small", "lossless", "copy", "video", "as-is"]

# Containers every speech service we know of takes. Others (Matroska, AVI, AMR …) are taken by some.
_ACCEPTED = frozenset({"mp3", "wav", "flac", "ogg", "mov", "mp4", "m4a", "aac"})
_SMALL_ENOUGH = 1.2  # above this, encoding saves more upload time than it costs quality

# What ffmpeg 5.1 and 9.0 put into MP4 and players take out again.
_MP4_CODECS = frozenset({"aac", "alac", "ac3", "eac3", "mp3", "opus", "flac"})
_COPIED_UNASKED = "aac"  # in MP4 every service takes it; of the others some do
_MAX_CHANNELS = 2  # services take one or two (docs.aws.amazon.com/transcribe: "how-input")

_LATE_S = 0.05  # a copy would move the transcript by this much before we refuse

# Quality is free while it costs no more than this: a tenth of the time, or a second that nobody notices.
_FREE_SHARE = 1.1
_FREE_S = 1.0

_MINUTE_S, _HOUR_S = 60, 3600
_FEW_S = 10
_MEGA = 1e6


class Decision(Struct, frozen=True):
    """What will be done with a recording, and why.

    Attributes:
        recipe: The recipe to follow, with as many channels as the recording needs.
        reason: One line for a person.
        estimated_bytes: How large the artifact will be, roughly; for disk space and time estimates.
        warnings: Sentences about what the choice costs.
    """

    recipe: Recipe
    reason: str
    estimated_bytes: int
    warnings: tuple[str, ...] = ()


def decide(info: MediaInfo, wish: Wish, means: Means | None = None) -> Decision:
    """Choose the recipe for `info`: the wish if there is one, else what loses least and gets the words across soonest.

    Left to itself, a recording of which nothing needs to be encoded is sent as it is or copied, one that the link
    carries as fast as it could be encoded is sent without loss, and all others as speech. `high` is only taken if asked
    for: no measurement we know of shows that a recogniser understands more of it.

    Raises:
        WishError: The recipe wished for cannot work on this recording; the hint names one that can.
        NoAudio: `info` has no audio (never the case after `probe`).
    """
    means = means or Means()
    if wish == "auto":
        best, reason = _best(info, means)
    else:
        best = offer(info, RECIPES[wish], means)
        if best.refusal:
            raise WishError(best.refusal, hint=best.hint)
        reason = f"{wish}: as asked"
    return Decision(best.recipe, reason, best.size_bytes, info.warnings + _warnings(info, best.recipe))


def offer(info: MediaInfo, recipe: Recipe, means: Means) -> Offer:
    """What a recipe would make of `info`, and what that would cost."""
    recipe = recipe.for_channels(info.mix.channels)
    refusal, hint = _refusal(info, recipe)
    size_bytes, rate_hz = estimate_bytes(info, recipe), info.audio.sample_rate_hz or 0
    return Offer(
        recipe,
        codec=info.audio.codec if not recipe.decodes_audio else recipe.options["c:a"].removeprefix("lib"),
        channels=int(recipe.options["ac"]) if recipe.decodes_audio else info.audio.channels or 0,
        sample_rate_hz=recipe.rate_hz(rate_hz) if recipe.decodes_audio else rate_hz,
        size_bytes=size_bytes,
        prepare_s=estimate_prepare_s(info, recipe, means),
        upload_s=size_bytes * 8 / means.assumed_bits_s,
        refusal=refusal,
        hint=hint,
    )


def _best(info: MediaInfo, means: Means) -> tuple[Offer, str]:
    standard = offer(info, STANDARD, means)
    obstacle = _obstacle(info)
    if obstacle is None and info.size_bytes <= _SMALL_ENOUGH * standard.size_bytes:
        size = say_size(info.size_bytes)
        return offer(info, AS_IS, means), f"as-is: already small ({size}), encoding would save next to nothing"
    whole = [offer(info, LOSSLESS, means)]
    if _copy_obstacle(info) is None:
        whole.insert(0, offer(info, COPY, means))
    if obstacle is None:
        whole.insert(0, offer(info, AS_IS, means))
    free = [one for one in whole if _is_free(one, standard)]
    if free and standard.total_s is not None:
        best = _first(free)
        return best, _praise(best, standard.total_s, means)
    saving = f"{say_size(standard.size_bytes)} instead of {say_size(info.size_bytes)}"
    reason = f"standard: {obstacle or 'speech needs no more'}, {saving}"
    swiftest_s = min((one.total_s for one in whole if one.total_s is not None), default=None)
    if standard.total_s is None or swiftest_s is None:
        return standard, reason
    times = f"{say_time(standard.total_s)} at {say_rate(means)}, {say_time(swiftest_s)} without loss"
    return standard, f"{reason}; {times}"


def _first(offers: list[Offer]) -> Offer:
    """The first that is as fast as any: they come in the order of what they keep."""
    swiftest_s = min(one.total_s or 0.0 for one in offers)
    return next(one for one in offers if (one.total_s or 0.0) <= _FREE_SHARE * swiftest_s + _FREE_S)


def _is_free(whole: Offer, standard: Offer) -> bool:
    """Whether what loses nothing costs no time worth the name.

    Only its upload is compared: it is always prepared about as fast. So a faster link never leads to a greater loss.
    """
    return standard.total_s is not None and whole.upload_s <= _FREE_SHARE * standard.total_s + _FREE_S


def _praise(best: Offer, encoding_s: float, means: Means) -> str:
    total_s = best.total_s or 0.0
    compared = "no slower than encoding" if total_s <= _FREE_SHARE * encoding_s else "hardly slower than encoding"
    size, rate = say_size(best.size_bytes), say_rate(means)
    return f"{best.recipe.name}: {size} at {rate} takes {say_time(total_s)}, {compared}, and loses nothing"


def _obstacle(info: MediaInfo) -> str | None:
    """Why the recording should not be sent as it is, however small it may be."""
    tracks = len(info.audio_streams)
    obstacles = (
        (info.has_video, "only the sound of a video is needed"),
        (info.duration_s is None, "the recording does not say how long it is"),
        (not info.demuxers & _ACCEPTED, f"not every service reads {info.format_name.partition(',')[0]}"),
        (tracks > 1, f"one of {tracks} audio tracks is needed"),
        (info.mix.rescues, f"{info.mix.reason}, so the channels have to be mixed with care"),
        ((info.audio.channels or 0) > _MAX_CHANNELS, f"not every service takes {info.audio.channels} channels"),
    )
    return next((reason for stands_in_the_way, reason in obstacles if stands_in_the_way), None)


def _copy_obstacle(info: MediaInfo) -> str | None:
    """Why the audio should not be copied unasked."""
    obstacles = (
        (_refusal(info, COPY)[0], "it cannot be copied"),
        (info.audio.codec != _COPIED_UNASKED, "not every service reads it in MP4"),
        (info.audio_length_s is None or info.audio.bit_rate is None, "its size is not known"),
        (info.mix.rescues, "its channels have to be mixed with care"),
        ((info.audio.channels or 0) > _MAX_CHANNELS, "it has too many channels"),
    )
    return next((reason for stands_in_the_way, reason in obstacles if stands_in_the_way), None)


def _refusal(info: MediaInfo, recipe: Recipe) -> tuple[str | None, str]:
    """Why a recipe cannot work on this recording, and what can be done instead."""
    name = info.path.name
    if recipe.name == VIDEO.name and not info.has_video:
        return f"{name!r} has no video to keep.", "Use the recipe `standard`."
    if recipe.name == AS_IS.name and info.chosen is not None and len(info.audio_streams) > 1:
        return f"{name!r} as it is has all its {len(info.audio_streams)} audio tracks.", "Use the recipe `copy`."
    if recipe.name != COPY.name:
        return None, ""
    if info.audio.codec not in _MP4_CODECS:
        codec = info.audio.codec or "unknown codec"
        return (
            f"The audio of {name!r} ({codec}) cannot be copied into MP4.",
            "Use the recipe `lossless`: it loses nothing either.",
        )
    if info.audio_offset_s > _LATE_S:
        late = f"{info.audio_offset_s:.1f} s late"
        return (
            f"The audio of {name!r} begins {late}; a copy would lose that time.",
            "Use the recipe `lossless`: it keeps the time line.",
        )
    return None, ""


def _warnings(info: MediaInfo, recipe: Recipe) -> tuple[str, ...]:
    warnings = []
    if len(info.audio_streams) > 1 and recipe.name != AS_IS.name:
        language = f" ({info.audio.language})" if info.audio.language else ""
        warnings.append(
            f"Audio track {info.track} of {len(info.audio_streams)}{language} is used; the others are left out."
        )
    if info.mix.name in {"subtract", "left", "right"} and not recipe.decodes_audio:
        warnings.append("Left and right cancel each other out: a service that mixes them hears nothing.")
    if recipe.name == SMALL.name:
        warnings.append("At 16 kbit/s services understand less: use it only where the link leaves no choice.")
    return tuple(warnings)


def say_size(size_bytes: int) -> str:
    """A size for people, in decimal units."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6)):
        if size_bytes >= bytes_each:
            return f"{size_bytes / bytes_each:.1f} {unit}"
    return f"{size_bytes / 1000:.0f} kB"


def say_time(seconds: float) -> str:
    """A time for people: `0.4 s`, `39 s`, `2 min`, `1.5 h`."""
    if seconds >= _HOUR_S:
        return f"{seconds / _HOUR_S:.1f} h"
    if seconds >= 2 * _MINUTE_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds:.0f} s" if seconds >= _FEW_S else f"{seconds:.1f} s"


def say_rate(means: Means) -> str:
    """The link's rate for people, and whether it is only assumed."""
    bits_s = means.assumed_bits_s
    rate = f"{round(bits_s / 1e6, 1):g} Mbit/s" if bits_s >= _MEGA else f"{bits_s / 1e3:.0f} kbit/s"
    return rate if means.uplink_bits_s else f"an assumed {rate}"

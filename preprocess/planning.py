"""All that could be done with a recording, side by side, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from .decision import Wish, decide, offer
from .estimate import Means
from .recipes import RECIPES, RecipeName

if TYPE_CHECKING:
    from pathlib import Path

    from .channels import MixName
    from .estimate import Offer
    from .media import MediaInfo, StreamInfo


class Row(Struct, frozen=True):
    """What one recipe would make of a recording, and what that would cost. Unknown numbers are None.

    Attributes:
        recipe: Its name.
        codec: libavcodec's name for what the artifact holds.
        channels: Channels of the artifact.
        sample_rate_hz: Its sample rate.
        size_bytes: How large it will be, roughly.
        prepare_s: Seconds until it is made on this machine.
        upload_s: Seconds until it is sent.
        total_s: Seconds until all is sent; both overlap, so the longer of the two counts.
        refusal: Why the recipe cannot work on this recording; the numbers are None then.
    """

    recipe: RecipeName
    codec: str | None = None
    channels: int | None = None
    sample_rate_hz: int | None = None
    size_bytes: int | None = None
    prepare_s: float | None = None
    upload_s: float | None = None
    total_s: float | None = None
    refusal: str | None = None


class Track(Struct, frozen=True):
    """An audio track.

    Attributes:
        number: Counted from 1, as `select` and `--track` count.
        language: The language tag as written in the file.
        codec: libavcodec's name.
        channels: Channels.
        sample_rate_hz: Samples per second.
        default: Whether the container marks it as the one to play.
        is_used: Whether it is the one that is transcribed.
    """

    number: int
    language: str | None
    codec: str
    channels: int | None
    sample_rate_hz: int | None
    default: bool
    is_used: bool


class Plan(Struct, frozen=True):
    """What is known of a recording, what each recipe would make of it, and which is taken.

    Attributes:
        source: The recording.
        format_name: libavformat's name for its container.
        size_bytes: Its size.
        duration_s: Its length in seconds, if known.
        video: Codec and pixels of its picture, such as `h264 1280x720`; None where there is none.
        tracks: Its audio tracks.
        mix: How the channels of the used one are brought together.
        mix_reason: Why, in half a sentence.
        uplink_bits_s: The rate that uploads were reckoned with.
        uplink_is_assumed: Whether nothing is known of the link.
        cores: The processors that preparing was reckoned with.
        speed: How fast each of them is, as a multiple of the one that recipes were measured on.
        speed_is_assumed: Whether nothing is known of that.
        rows: One for every recipe.
        wish: What was asked for.
        recipe: What is taken.
        reason: Why, in one line.
        warnings: Sentences about the recording, and about what the choice costs.
    """

    source: Path
    format_name: str
    size_bytes: int
    duration_s: float | None
    video: str | None
    tracks: tuple[Track, ...]
    mix: MixName
    mix_reason: str
    uplink_bits_s: float
    uplink_is_assumed: bool
    cores: int
    speed: float
    speed_is_assumed: bool
    rows: tuple[Row, ...]
    wish: Wish
    recipe: RecipeName
    reason: str
    warnings: tuple[str, ...]


def plan(info: MediaInfo, wish: Wish = "auto", means: Means | None = None) -> Plan:
    """Lay side by side what each recipe would make of `info`, and say which is taken and why. Reads nothing.

    Raises:
        WishError: The recipe wished for cannot work on this recording.
    """
    means = means or Means()
    decision = decide(info, wish, means)
    video = info.video
    return Plan(
        source=info.path,
        format_name=info.format_name,
        size_bytes=info.size_bytes,
        duration_s=info.duration_s,
        video=None if video is None else f"{video.codec} {video.width}x{video.height}",
        tracks=tuple(_track(info, number, stream) for number, stream in enumerate(info.audio_streams, 1)),
        mix=info.mix.name,
        mix_reason=info.mix.reason,
        uplink_bits_s=means.assumed_bits_s,
        uplink_is_assumed=means.uplink_bits_s is None,
        cores=means.cores,
        speed=means.assumed_speed,
        speed_is_assumed=means.speed is None,
        rows=tuple(_row(offer(info, recipe, means)) for recipe in RECIPES.values()),
        wish=wish,
        recipe=decision.recipe.name,
        reason=decision.reason,
        warnings=decision.warnings,
    )


def _row(made: Offer) -> Row:
    if made.refusal is not None:
        return Row(made.recipe.name, refusal=made.refusal)
    return Row(
        made.recipe.name,
        made.codec,
        made.channels,
        made.sample_rate_hz,
        made.size_bytes,
        made.prepare_s,
        made.upload_s,
        made.total_s,
    )


def _track(info: MediaInfo, number: int, stream: StreamInfo) -> Track:
    return Track(
        number=number,
        language=stream.language,
        codec=stream.codec,
        channels=stream.channels,
        sample_rate_hz=stream.sample_rate_hz,
        default=stream.default,
        is_used=stream is info.audio,
    )

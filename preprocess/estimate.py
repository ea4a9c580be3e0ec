"""What each recipe would cost on a recording: bytes, preparing and sending. Arithmetic on measured numbers.

Speeds are seconds of recording per second of one processor, measured with ffmpeg 9.0 and looped speech of 48 kHz on the
machine whose `Means.speed` is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .recipes import AS_IS, COPY, LOSSLESS, RecipeName

if TYPE_CHECKING:
    from .media import MediaInfo
    from .recipes import Recipe

UNKNOWN_UPLINK_BITS_S = 5_000_000.0
"""What a link is taken for that nothing is known of (bits per second): a modest home connection upstream."""

_VIDEO_BYTES_PER_S = 40_000  # 480p, 10 pictures a second, crf 32: lively video; slides need a tenth
_CONTAINER_SHARE = 1.02  # boxes and tables around copied packets

_READ_BYTES_PER_S = 150_000_000  # demuxing from a cold disk; every recipe reads all of the recording
_DECODING = {"pcm": 780.0, "flac": 520.0}
_DECODING_LOSSY = 330.0
_ENCODING: dict[RecipeName, float] = {"standard": 57.0, "high": 65.0, "small": 57.0, "lossless": 655.0, "video": 20.0}


@dataclass(frozen=True, slots=True)
class Means:
    """What there is to prepare and to send with.

    Attributes:
        uplink_bits_s: Bits per second that the link carries upwards; None where nothing is known of it.
        cores: Processors.
        speed: How fast each is, as a multiple of the one that the speeds here were measured on.
    """

    uplink_bits_s: float | None = None
    cores: int = 2
    speed: float = 1.0

    @property
    def assumed_bits_s(self) -> float:
        """The link's rate, or what stands in for it."""
        return self.uplink_bits_s or UNKNOWN_UPLINK_BITS_S


@dataclass(frozen=True, slots=True)
class Offer:
    """What one recipe would make of a recording, and what that would cost. Unknown times are None.

    Attributes:
        recipe: The recipe, with as many channels as the recording needs.
        codec: libavcodec's name for what the artifact holds; empty where that is not known.
        channels: Channels of the artifact.
        sample_rate_hz: Its sample rate.
        size_bytes: How large it will be, roughly.
        prepare_s: Seconds until it is made.
        upload_s: Seconds until it is sent.
        refusal: Why the recipe cannot work on this recording; None where it can.
        hint: What can be done instead of a refused one.
    """

    recipe: Recipe
    codec: str
    channels: int
    sample_rate_hz: int
    size_bytes: int
    prepare_s: float | None
    upload_s: float
    refusal: str | None = None
    hint: str = ""

    @property
    def total_s(self) -> float | None:
        """Seconds until all is sent: preparing and sending overlap, so the longer of the two counts."""
        return None if self.prepare_s is None else max(self.prepare_s, self.upload_s)


def estimate_bytes(info: MediaInfo, recipe: Recipe) -> int:
    """Rough size of the artifact; the source's own size where nothing better is known."""
    length_s = info.audio_length_s
    if recipe.name == AS_IS.name or length_s is None:
        return info.size_bytes
    if recipe.name == COPY.name:
        rate = info.audio.bit_rate
        return min(info.size_bytes, int(length_s * rate / 8 * _CONTAINER_SHARE)) if rate else info.size_bytes
    if recipe.keeps_video:
        return int((info.duration_s or length_s) * _VIDEO_BYTES_PER_S)
    per_s = recipe.bytes_per_s or 0.0
    if recipe.name == LOSSLESS.name:
        rate_hz = info.audio.sample_rate_hz or 0
        per_s *= recipe.rate_hz(rate_hz) / LOSSLESS.rate_hz(1 << 30)
    return int(length_s * per_s)


def estimate_prepare_s(info: MediaInfo, recipe: Recipe, means: Means) -> float | None:
    """Seconds that preparing will take; None where the recording's length is not known."""
    if recipe.name == AS_IS.name:
        return 0.0
    reading_s = info.size_bytes / _READ_BYTES_PER_S
    if not recipe.decodes_audio:
        return reading_s
    if info.audio_length_s is None:
        return None
    channels = int(recipe.options["ac"])
    codec = info.audio.codec
    decoding_s = info.audio_length_s / (_DECODING.get(codec.partition("_")[0], _DECODING_LOSSY) * means.speed)
    encoding_s = info.audio_length_s * channels / (_ENCODING[recipe.name] * means.speed)
    if recipe.is_sliced:
        return max(reading_s, decoding_s, (decoding_s + encoding_s) / means.cores)
    return max(reading_s, decoding_s, encoding_s) if means.cores > 1 else max(reading_s, decoding_s + encoding_s)

"""What each recipe would cost on a recording: bytes, preparing and sending. Arithmetic on measured numbers.

Speeds are seconds of recording per second of one processor, measured with ffmpeg 9.0 and looped speech of 48 kHz on the
machine whose `Means.speed` is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from .recipes import AS_IS, COPY, LOSSLESS

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
_ENCODING_OPUS, _ENCODING_FLAC = 57.0, 655.0  # Opus: at any of our rates
_SECOND_CHANNEL = 0.3  # of the first one's work, where two people take turns: 0.24 for Opus, 0.38 for FLAC

# Processor seconds per second of video: making 480p at 10 pictures a second, and decoding 30 pictures a second of so
# many million pixels (720p and 1080p H.264 at 25 and 50 Mbit/s, which is much).
_FILM_ENCODING, _FILM_DECODING_PER_MPIXEL = 0.06, 0.17
_MPIXELS_720P = 0.92

_TELLING_S = 60.0  # what is prepared in a moment tells of ffmpeg's start, not of its speed
_PLAUSIBLE = (0.1, 20.0)


class Means(Struct, frozen=True):
    """What there is to prepare and to send with.

    Attributes:
        uplink_bits_s: Bits per second that the link carries upwards; None where nothing is known of it.
        cores: Processors.
        speed: How fast each is, as a multiple of the one that the speeds here were measured on; None where nothing is
            known of it.
    """

    uplink_bits_s: float | None = None
    cores: int = 2
    speed: float | None = None

    @property
    def assumed_bits_s(self) -> float:
        """The link's rate, or what stands in for it."""
        return self.uplink_bits_s or UNKNOWN_UPLINK_BITS_S

    @property
    def assumed_speed(self) -> float:
        """The processors' speed, or what stands in for it."""
        return self.speed or 1.0


class Offer(Struct, frozen=True):
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
    length_s = info.audio_length_s / means.assumed_speed  # of a recording that the measured machine does in that time
    if recipe.keeps_video:
        return max(reading_s, length_s * _film_share(info, means.cores))
    decoding_s = length_s / _DECODING.get(info.audio.codec.partition("_")[0], _DECODING_LOSSY)
    work = 1 + _SECOND_CHANNEL * (int(recipe.options["ac"]) - 1)
    encoding_s = length_s * work / (_ENCODING_FLAC if recipe.name == LOSSLESS.name else _ENCODING_OPUS)
    if recipe.is_sliced:
        return max(reading_s, decoding_s, (decoding_s + encoding_s) / means.cores)
    return max(reading_s, decoding_s, encoding_s) if means.cores > 1 else max(reading_s, decoding_s + encoding_s)


def _film_share(info: MediaInfo, cores: int) -> float:
    """Seconds that a second of video takes; its decoder uses all processors, its encoder one."""
    video = info.video
    pixels = (video.width or 0) * (video.height or 0) if video else 0
    decoding = _FILM_DECODING_PER_MPIXEL * (pixels / 1e6 or _MPIXELS_720P)
    return max(_FILM_ENCODING, (_FILM_ENCODING + decoding) / cores)


def measured_speed(info: MediaInfo, recipe: Recipe, pace: float | None, cores: int) -> float | None:
    """How fast a processor of this machine is, for `Means.speed`, from how fast a recording was prepared.

    Args:
        info: The recording.
        recipe: What was made of it.
        pace: Seconds of recording per second of preparing; None where it was not measured.
        cores: Processors that took part.

    Returns:
        None where the preparation tells nothing: it was too short, or not the processors' work.
    """
    length_s = info.audio_length_s
    expected_s = estimate_prepare_s(info, recipe, Means(cores=cores))
    if not pace or not length_s or not expected_s or length_s < _TELLING_S or not recipe.is_sliced:
        return None
    least, most = _PLAUSIBLE
    return min(most, max(least, pace * expected_s / length_s))

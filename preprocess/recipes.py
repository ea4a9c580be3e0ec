"""How to prepare a recording, as plain data.

The numbers come from measurements with looped speech, 16 kHz mono, per hour of recording; the encoders'
own determinism needs the bitexact flags, without which Ogg gets a random serial number.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

RecipeName = Literal["standard", "high", "small", "lossless", "copy", "video", "as-is"]

SPEECH_RATE_HZ = 16_000  # what recognisers work at; more is thrown away on arrival
_OPUS_RATES_HZ = (8_000, 12_000, 16_000)  # RFC 6716 section 2, up to wideband

# Ogg/Opus and Ogg/FLAC are append-only and the same bytes through a pipe as in a file, and so is MP4 in
# fragments whose header is held back until the edit list is known.
_OGG = {"f": "ogg"}
_FRAGMENTED_MP4 = {"f": "mp4", "movflags": "+delay_moov+default_base_moof+frag_keyframe"}
_OPUS_SPEECH = {"c:a": "libopus", "b:a": "24k", "application": "voip", "ac": "1"}

_SECOND_FLAC_CHANNEL = 0.6  # of the first one's bytes, where two people take turns

BITEXACT = {"map_metadata": "-1", "map_chapters": "-1", "fflags": "+bitexact", "flags:a": "+bitexact"}


class Recipe(Struct, frozen=True):
    """One way to prepare a recording.

    Attributes:
        name: What the user calls it.
        media_type: MIME type of the artifact; empty where it is the source's own.
        suffix: File name suffix of the artifact; empty where it is the source's own.
        options: ffmpeg's output options, without those that depend on the recording.
        lossy: Whether sound is thrown away.
        decodes_audio: Whether the audio is decoded and encoded again.
        keeps_video: Whether pictures are kept.
        bytes_per_s: Measured size per second of recording; None where the source decides.
    """

    name: RecipeName
    media_type: str
    suffix: str
    options: dict[str, str]
    lossy: bool
    decodes_audio: bool = True
    keeps_video: bool = False
    bytes_per_s: float | None = None

    @property
    def is_sliced(self) -> bool:
        """Whether slices of the sound can be encoded apart and spliced: only Opus packets can be."""
        return self.options.get("c:a") == "libopus" and not self.keeps_video

    def rate_hz(self, source_rate_hz: int) -> int:
        """Sample rate of the artifact: never more than the source has, as near as the codec allows."""
        if "libopus" in self.options.values():
            return next((rate for rate in _OPUS_RATES_HZ if rate >= source_rate_hz), SPEECH_RATE_HZ)
        return min(source_rate_hz, SPEECH_RATE_HZ)

    def for_channels(self, channels: int) -> Recipe:
        """The same recipe for an artifact of so many channels, each with the bits that one alone would have.

        Two voices in one Opus stream stay apart: at 48 kbit/s one leaks into the other's channel at -73 dB, at
        32 kbit/s at -42 dB [measured].
        """
        if channels == 1 or not self.decodes_audio:
            return self
        options = self.options | {"ac": str(channels)}
        if "b:a" in options:
            options["b:a"] = f"{channels * int(options['b:a'].removesuffix('k'))}k"
        share = channels if "b:a" in options else 1 + _SECOND_FLAC_CHANNEL * (channels - 1)
        return replace(self, options=options, bytes_per_s=self.bytes_per_s and share * self.bytes_per_s)


STANDARD = Recipe(
    name="standard",
    media_type="audio/ogg; codecs=opus",
    suffix=".ogg",
    options=_OPUS_SPEECH | _OGG,
    lossy=True,
    bytes_per_s=10_400_000 / 3600,
)
HIGH = replace(STANDARD, name="high", options=STANDARD.options | {"b:a": "32k"}, bytes_per_s=13_800_000 / 3600)
# At 16 kbit/s a recogniser made 12.6 % more errors than with the uncompressed sound (arXiv 2002.00122, far-field).
SMALL = replace(STANDARD, name="small", options=STANDARD.options | {"b:a": "16k"}, bytes_per_s=7_000_000 / 3600)
LOSSLESS = Recipe(
    name="lossless",
    media_type="audio/ogg; codecs=flac",
    suffix=".oga",
    # s16: decoders of lossy formats give floats, of which FLAC would keep 24 bits of noise.
    options={"c:a": "flac", "sample_fmt": "s16", "ac": "1"} | _OGG,
    lossy=False,
    bytes_per_s=53_000_000 / 3600,
)
COPY = Recipe(
    name="copy",
    media_type="audio/mp4",
    suffix=".m4a",
    options={
        "c:a": "copy",
        "f": "mp4",
        "movflags": "+delay_moov+default_base_moof+frag_keyframe+skip_trailer",
        "frag_duration": "10000000",
    },
    lossy=False,
    decodes_audio=False,
)
VIDEO = Recipe(
    name="video",
    media_type="video/mp4",
    suffix=".mp4",
    options=_OPUS_SPEECH
    | {
        # Even height and 4:2:0, or x264 refuses the picture or players do.
        "vf": "scale=-2:'trunc(min(480,ih)/2)*2',fps=10",
        "pix_fmt": "yuv420p",
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": "32",
        "threads": "1",  # x264 with two threads writes other bytes every few runs
        "g": "100",
        "flags:v": "+bitexact",
    }
    | _FRAGMENTED_MP4,
    lossy=True,
    keeps_video=True,
)
AS_IS = Recipe(name="as-is", media_type="", suffix="", options={}, lossy=False, decodes_audio=False, keeps_video=True)

RECIPES: dict[RecipeName, Recipe] = {
    recipe.name: recipe for recipe in (STANDARD, HIGH, SMALL, LOSSLESS, COPY, VIDEO, AS_IS)
}

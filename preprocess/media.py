"""What a probe says about a recording, as plain data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from .channels import mix_of
from .errors import NoAudio

if TYPE_CHECKING:
    from pathlib import Path

    from .channels import Mix

# Demuxers that may open a recording. Playlists and scripts (hls, dash, concat) are left out on purpose:
# an `ffconcat` script named .mp4 makes libavformat read whatever file it names, even when only the
# `file` protocol is allowed.
FORMAT_WHITELIST = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,mxf,ogg,tta,voc,w64,wav,wv"
)

# Formats whose packets carry trustworthy time stamps (FLAC and Ogg count samples). Only these get their gaps filled:
# on raw streams the same filter doubles the length of a damaged file.
_TIMESTAMPED = frozenset({"mov", "mp4", "matroska", "webm", "mpegts", "asf", "avi", "flv", "mxf", "flac", "ogg"})

# Raw streams have no header that states a length; libavformat guesses one from the bit rate.
_LENGTH_GUESSED = frozenset({"aac", "ac3", "eac3", "mp3", "amr", "mpeg"})


_SPARE_S = 600
_FEWEST_BYTES_PER_S = 100  # speech at 3.2 kbit/s takes four times as much; Opus spends 50 on each second of silence

_SILENCE_DBFS = -60.0  # a quiet voice across a room is near -45


class Sound(Struct, frozen=True):
    """What was heard in half a minute of an audio stream, taken from all over the recording.

    Attributes:
        levels_dbfs: Power of each channel in decibels below full scale; None for digital silence.
        correlation: Of left and right: 1 for equal channels, 0 for unrelated ones, -1 for one that is the other upside
            down. 0 unless there are two channels.
        left_alone: Share of the time with sound in which the left channel is 10 dB above the right one.
        right_alone: The same for the right channel.
        is_laid_out: Whether the container says which channel belongs where.
    """

    levels_dbfs: tuple[float | None, ...]
    correlation: float = 0.0
    left_alone: float = 0.0
    right_alone: float = 0.0
    is_laid_out: bool = True

    @property
    def is_silent(self) -> bool:
        """Whether no channel holds anything that could be speech."""
        return max((level for level in self.levels_dbfs if level is not None), default=-math.inf) < _SILENCE_DBFS


class StreamInfo(Struct, frozen=True):
    """One stream of a recording. Unknown numbers are None.

    Attributes:
        index: Its number within the container, as in ffmpeg's `-map 0:<index>`.
        kind: `audio`, `video`, `subtitle`, `data` or `attachment`.
        codec: libavcodec's name, such as `aac`; empty where it has none.
        sample_rate_hz: Samples per second of an audio stream.
        channels: Audio channels.
        language: The language tag as written in the file.
        default: Whether the container marks it as the one to play.
        attached_picture: Whether it is a cover image that only looks like a video stream.
        start_s: Time stamp of its first packet, in seconds.
        duration_s: Its own length in seconds, not the container's.
        bit_rate: Bits per second, as the container states it or as they were counted.
        width: Pixels of a video stream.
        height: Pixels of a video stream.
        sound: What was heard of an audio stream; None where nothing could be decoded.
    """

    index: int
    kind: str
    codec: str
    sample_rate_hz: int | None = None
    channels: int | None = None
    language: str | None = None
    default: bool = False
    attached_picture: bool = False
    start_s: float | None = None
    duration_s: float | None = None
    bit_rate: int | None = None
    width: int | None = None
    height: int | None = None
    sound: Sound | None = None


class MediaInfo(Struct, frozen=True):
    """What is known about a recording after a probe. Unknown numbers are None.

    Attributes:
        path: Absolute path of the recording.
        size_bytes: Its size when it was probed.
        format_name: libavformat's demuxer name, such as `mov,mp4,m4a,3gp,3g2,mj2`.
        duration_s: The container's length in seconds.
        start_s: The container's first time stamp in seconds.
        bit_rate: Bits per second over the whole file.
        streams: All streams in the container's order.
        warnings: Sentences about what looks wrong but does not stop us.
        demuxer_options: What libav must be told to read all of it, as pairs of name and value.
        chosen: Number within the container of the audio stream that was asked for; None for the default one.
    """

    path: Path
    size_bytes: int
    format_name: str
    duration_s: float | None
    start_s: float | None
    bit_rate: int | None
    streams: tuple[StreamInfo, ...]
    warnings: tuple[str, ...] = ()
    demuxer_options: tuple[tuple[str, str], ...] = ()
    chosen: int | None = None

    @property
    def audio_streams(self) -> tuple[StreamInfo, ...]:
        """Streams that can be decoded to sound: a rate and channels are known."""
        return tuple(s for s in self.streams if s.kind == "audio" and s.sample_rate_hz and s.channels)

    @property
    def audio(self) -> StreamInfo:
        """The audio stream to transcribe: the one asked for, else the default one, else the first.

        Raises:
            NoAudio: There is none. `probe` never returns such a recording.
        """
        streams = self.audio_streams
        if not streams:
            raise NoAudio(f"{self.path.name!r} has no audio track.", hint="Check that sound was being recorded.")
        asked = (s for s in streams if s.index == self.chosen)
        return next(asked, None) or next((s for s in streams if s.default), streams[0])

    @property
    def track(self) -> int:
        """Which of the audio streams that is, counted from 1, as `--track` counts."""
        return self.audio_streams.index(self.audio) + 1

    @property
    def mix(self) -> Mix:
        """How the channels of that stream are brought together."""
        return mix_of(self.audio)

    @property
    def video(self) -> StreamInfo | None:
        """The first moving picture; cover images are not one."""
        return next((s for s in self.streams if s.kind == "video" and not s.attached_picture), None)

    @property
    def has_video(self) -> bool:
        """Whether there is a moving picture."""
        return self.video is not None

    @property
    def demuxers(self) -> frozenset[str]:
        """The names in `format_name`, one by one."""
        return frozenset(self.format_name.split(","))

    @property
    def is_timestamped(self) -> bool:
        """Whether gaps in the audio can be seen, and filled, by its time stamps."""
        return bool(self.demuxers & _TIMESTAMPED)

    @property
    def audio_offset_s(self) -> float:
        """How long after the container's start the chosen audio begins, in seconds."""
        if not self.is_timestamped or self.audio.start_s is None or self.start_s is None:
            return 0.0
        return max(0.0, self.audio.start_s - self.start_s)

    @property
    def audio_length_s(self) -> float | None:
        """Length of the audio on the recording's time line, in seconds, silence before it included."""
        if self.audio.duration_s is not None:
            return self.audio_offset_s + self.audio.duration_s
        return self.duration_s

    @property
    def longest_s(self) -> float:
        """How many seconds at most are made of it: time stamps that jump would else be filled with years of silence.

        Twice what it says and ten minutes, or what so many bytes can hold, as joined streams tell only of one of them.
        """
        return max(2 * (self.audio_length_s or 0.0) + _SPARE_S, self.size_bytes / _FEWEST_BYTES_PER_S)

    @property
    def length_is_guessed(self) -> bool:
        """Whether the length follows from a bit rate rather than from a header."""
        return bool(self.demuxers & _LENGTH_GUESSED)

"""Look into a media file with libav, in a process that may crash or hang without harm.

Run as a script, `probe_child.py look|measure <path> <demuxers>`; answers with one JSON object. It imports
nothing of this package, so that only the standard library and PyAV are loaded. The answer is
`{"format", "duration_s", …, "sound", "streams": […]}` for `look`, `{"end_s"}` for `measure`, and
`{"error": <class name>, "text": <libav's words>}` where libav gives up.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import operator
import sys
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING

import av
from av.audio import AudioFrame, AudioStream
from av.audio.resampler import AudioResampler
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from av.video import VideoStream

if TYPE_CHECKING:
    from av.codec import CodecContext
    from av.container import InputContainer
    from av.stream import Stream

_PROBE_BYTES = 32 << 20  # a stream that has not shown itself within this is not worth more reading
_ANALYZE_US = 60_000_000  # the same in time, in microseconds: audio may begin late

_PLACES = 3  # start, one third, two thirds: an intro differs from the talk
_LISTEN_S = 5
_LISTEN_RATE_HZ = 8_000  # enough to tell loud from silent
_TRIAL_PACKETS = 1000  # 20 s of AAC or Opus: room for damaged ones
_FULL_SCALE = 32_768


def main(arguments: list[str]) -> int:
    """Print what is known about the file; the exit status is 0 whenever there is an answer."""
    task, path, demuxers = arguments
    try:
        answer = measure(path, demuxers) if task == "measure" else look(path, demuxers)
    except (FFmpegError, OSError) as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    json.dump(answer, sys.stdout)
    return 0


def look(path: str, demuxers: str) -> dict[str, object]:
    """Open the file and describe container and streams."""
    with _open(path, demuxers) as container:
        return {
            "format": container.format.name,
            "duration_s": _container_s(container.duration),
            "start_s": _container_s(container.start_time),
            "bit_rate": container.bit_rate or None,
            "sound": _listen(container),
            "streams": [_describe(stream, container) for stream in container.streams],
        }


def _listen(container: InputContainer) -> dict[str, object]:
    """Decode a few seconds at the start, at one third and at two thirds.

    Finds what headers hide: encryption, a missing decoder, noise that only looks like a stream, silence,
    and channels that cancel each other when they are mixed.
    """
    energy = _Energy()
    audio = _chosen(container)
    if audio is not None and energy.add(container, audio):
        duration = container.duration or 0
        for place in range(1, _PLACES) if duration else ():
            with contextlib.suppress(FFmpegError):
                container.seek((container.start_time or 0) + duration * place // _PLACES)
                energy.add(container, audio)
    return {"decodes": energy.samples > 0, "level_dbfs": energy.level_dbfs(), "correlation": energy.correlation()}


def _chosen(container: InputContainer) -> AudioStream | None:
    # The rule of `MediaInfo.audio`.
    streams = [stream for stream in container.streams.audio if _is_decodable(stream)]
    return next((s for s in streams if s.disposition & Disposition.default), streams[0] if streams else None)


def _is_decodable(stream: AudioStream) -> bool:
    context: CodecContext | None = stream.codec_context  # None where no decoder is known
    return context is not None and bool(stream.sample_rate and stream.channels)


class _Energy:
    """Power of the left and right channel of what was listened to, and how they go together."""

    def __init__(self) -> None:
        self.samples = 0
        self._left = self._right = self._both = 0

    def add(self, container: InputContainer, audio: AudioStream) -> bool:
        """Listen from the current place; False only if the file cannot be read on."""
        # One for every shape of frames: damage and joined files change the rate in mid-stream.
        resamplers: defaultdict[tuple[str, str, int], AudioResampler] = defaultdict(
            lambda: AudioResampler(format="s16", layout="stereo", rate=_LISTEN_RATE_HZ)
        )
        wanted = self.samples + _LISTEN_S * _LISTEN_RATE_HZ
        try:
            for packet in itertools.islice(container.demux(audio), _TRIAL_PACKETS):
                with contextlib.suppress(InvalidDataError):
                    for frame in audio.decode(packet):
                        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
                        self._take(resamplers[shape].resample(frame))
                if self.samples >= wanted:
                    break
        except FFmpegError:
            return self.samples > 0
        return True

    def _take(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            sound = array("h", bytes(frame.planes[0])[: frame.samples * 4])
            left, right = sound[::2], sound[1::2]
            self.samples += frame.samples
            self._left += sum(map(operator.mul, left, left))
            self._right += sum(map(operator.mul, right, right))
            self._both += sum(map(operator.mul, left, right))

    def level_dbfs(self) -> float | None:
        """Power of the louder channel in decibels below full scale; None where nothing was heard."""
        power = max(self._left, self._right) / self.samples if self.samples else 0.0
        return 10 * math.log10(power / _FULL_SCALE**2) if power else None

    def correlation(self) -> float:
        """1 for equal channels, 0 for unrelated ones, -1 for one that is the other upside down."""
        return self._both / math.sqrt(self._left * self._right) if self._left and self._right else 0.0


def measure(path: str, demuxers: str) -> dict[str, object]:
    """Find the end of the audio by its packets' own time stamps, without decoding them."""
    with _open(path, demuxers) as container:
        audio = container.streams.audio[0]
        ends = (packet.pts + (packet.duration or 0) for packet in container.demux(audio) if packet.pts is not None)
        return {"end_s": _stream_s(audio, max(ends, default=0)) or 0.0}


def _open(path: str, demuxers: str) -> InputContainer:
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": demuxers,
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_ANALYZE_US),
    }
    return av.open("file:" + path, options=options, metadata_errors="replace")


def _container_s(time: int | None) -> float | None:
    return None if time is None else time / av.time_base


def _describe(stream: Stream, container: InputContainer) -> dict[str, object]:
    # PyAV's types promise a codec context, but data streams and unknown codecs have none.
    context: CodecContext | None = stream.codec_context
    known: dict[str, object] = {
        "index": stream.index,
        "kind": stream.type,
        "codec": "" if context is None else context.codec.canonical_name,
        "language": stream.language,
        "default": bool(stream.disposition & Disposition.default),
        "attached_picture": bool(stream.disposition & Disposition.attached_pic),
        "start_s": _stream_s(stream, stream.start_time),
        "duration_s": _duration_s(stream, container),
        "bit_rate": (None if context is None else context.bit_rate) or None,
    }
    if context is not None and isinstance(stream, AudioStream):
        known |= {"sample_rate_hz": stream.sample_rate or None, "channels": stream.channels or None}
    elif context is not None and isinstance(stream, VideoStream):
        known |= {"width": stream.width or None, "height": stream.height or None}
    return known


def _stream_s(stream: Stream, time: int | None) -> float | None:
    return None if time is None or stream.time_base is None else float(time * stream.time_base)


def _duration_s(stream: Stream, container: InputContainer) -> float | None:
    own = _stream_s(stream, stream.duration)
    tag = stream.metadata.get("DURATION", "")
    if own is not None or container.format.name != "matroska,webm" or tag.count(":") != 2:  # noqa: PLR2004 -- h:m:s
        return own
    # Matroska keeps a track's length only in a tag, "HH:MM:SS.fraction", written by every common muxer and
    # measured from the container's zero, not from the track's first packet.
    hours, minutes, seconds = tag.split(":")
    try:
        end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
    return max(0.0, end - (_stream_s(stream, stream.start_time) or 0.0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

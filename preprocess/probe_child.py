"""Look into a media file with libav, in a process that may crash or hang without harm.

Run as a script, `probe_child.py look <path> <demuxers> [<option>=<value>...]`, or `holes` with the number of a
stream before libav's options; answers with one JSON object. It imports nothing of this package, so that only the
standard library and PyAV are loaded. The answer is `{"format", "duration_s", …, "streams": […]}` for `look`,
`{"holes", "end_s"}` for `holes`, and `{"error": <class name>, "text": <libav's words>}` where libav gives up.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import operator
import sys
from array import array
from typing import TYPE_CHECKING

import av
from av.audio import AudioFrame, AudioStream
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.stream import Disposition
from av.video import VideoStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from av.codec import CodecContext
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

_PROBE_BYTES = 32 << 20  # a stream that has not shown itself within this is not worth more reading
_ANALYZE_US = 60_000_000  # the same in time, in microseconds: audio may begin late

# A recording this short is heard to its end; of a longer one, as much in pieces: an intro differs from the talk,
# and in a conversation both have to come to word.
_WHOLE_S = 30
_PLACES = 20
_LISTEN_S = 1.5
_LISTEN_RATE_HZ = 8_000  # enough to tell loud from silent
_MAX_TRACKS = 64
_TRIAL_PACKETS_PER_S = 400  # Opus has at most so many, AAC a tenth: room for damaged ones
_FULL_SCALE = 32_768

# One side has the word where it is 10 dB above the other for 50 ms. Measured: two voices on two channels come to
# 0.2 to 0.5 for either side, also with the other one 12 dB below or through a room; one pair of microphones in a room,
# and music, stay below 0.06 for the lesser side.
_ALONE_RATIO = 10.0
_FRAME_SAMPLES = _LISTEN_RATE_HZ // 20
_HOLE_S = 0.05  # codecs and time bases of a millisecond round by less
_MAX_HOLES = 1000
_HEARD_RATIO = 1000.0  # a frame 30 dB below the average is a pause


def main(arguments: list[str]) -> int:
    """Print what is known about the file; the exit status is 0 whenever there is an answer."""
    task, path, demuxers, *rest = arguments
    options = {"format_whitelist": demuxers} | dict(word.split("=") for word in rest if "=" in word)
    try:
        answer = holes(path, options, int(rest[0])) if task == "holes" else look(path, options)
    except (FFmpegError, OSError) as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    json.dump(answer, sys.stdout)
    return 0


def look(path: str, options: dict[str, str]) -> dict[str, object]:
    """Open the file and describe container and streams."""
    with _open(path, options) as container:
        ears = _listen(container)
        return {
            "format": container.format.name,
            "duration_s": _container_s(container.duration),
            "start_s": _container_s(container.start_time),
            "bit_rate": container.bit_rate or None,
            "streams": [_describe(stream, container, ears.get(stream.index)) for stream in container.streams],
            "is_empty": bool(ears) and not any(ear.packets_bytes for ear in ears.values()),
        }


def _listen(container: InputContainer) -> dict[int, _Ear]:
    """Decode some seconds of every audio track.

    Finds what headers hide: encryption, a missing decoder, noise that only looks like a stream, silence, and what the
    channels have to do with each other.
    """
    ears = {stream.index: _Ear() for stream in container.streams.audio if _is_decodable(stream)}
    ears = dict(itertools.islice(ears.items(), _MAX_TRACKS))
    duration = container.duration or 0
    is_long = duration > _WHOLE_S * av.time_base
    if ears and _hear(container, ears, _LISTEN_S if is_long else _WHOLE_S) and is_long:
        for place in range(1, _PLACES):
            with contextlib.suppress(FFmpegError):
                container.seek((container.start_time or 0) + duration * place // _PLACES)
                _hear(container, ears, _LISTEN_S)
    return ears


def _is_decodable(stream: AudioStream) -> bool:
    context: CodecContext | None = stream.codec_context  # None where no decoder is known
    return context is not None and bool(stream.sample_rate and stream.channels)


def _hear(container: InputContainer, ears: dict[int, _Ear], seconds: float) -> bool:
    """Listen from the current place; False only if the file cannot be read on and nothing was heard."""
    wanted = seconds * _LISTEN_RATE_HZ
    for ear in ears.values():
        ear.turn()
    streams = [container.streams[index] for index in ears]
    try:
        for packet in itertools.islice(container.demux(streams), int(seconds * _TRIAL_PACKETS_PER_S) * len(ears)):
            ear = ears[packet.stream.index]
            ear.count(packet)
            for frame in _frames(packet):
                ear.take(frame)
            heard = [ear.heard for ear in ears.values()]
            if min(heard) >= wanted or max(heard) >= 2 * wanted:  # a track with holes must not make us read on
                break
    except FFmpegError:
        return any(ear.samples for ear in ears.values())
    return True


class _Ear:
    """Listens to one track."""

    def __init__(self) -> None:
        self.heard = 0
        self.packets_bytes = 0
        self._ticks = 0
        self._tick_s = 0.0
        # By the number of channels, which damage and joined files change in mid-stream.
        self._tallies: dict[int, _Tally] = {}
        # One for every shape of frames, for the same reason. They are kept from place to place: making one takes as
        # long as listening to half a second, and what it holds back are a few samples.
        self._resamplers: dict[tuple[str, str, int], AudioResampler] = {}

    @property
    def samples(self) -> int:
        """How much was heard, at the rate of listening."""
        return sum(tally.samples for tally in self._tallies.values())

    def turn(self) -> None:
        """Begin at another place."""
        self.heard = 0
        for tally in self._tallies.values():
            tally.turn()

    def count(self, packet: Packet[Stream]) -> None:
        """Note how much of the file a packet takes."""
        self.packets_bytes += packet.size
        self._ticks += packet.duration or 0
        self._tick_s = self._tick_s or float(packet.time_base or 0)

    def bit_rate(self) -> int | None:
        """Bits per second of the track, where its container does not say: Matroska never does."""
        packets_s = self._ticks * self._tick_s
        return round(8 * self.packets_bytes / packets_s) if packets_s else None

    def take(self, frame: AudioFrame) -> None:
        """Listen to a frame."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape not in self._resamplers:
            self._resamplers[shape] = AudioResampler(format="s16", layout=frame.layout, rate=_LISTEN_RATE_HZ)
        count = len(frame.layout.channels)
        tally = self._tallies.setdefault(count, _Tally(count))
        tally.is_laid_out &= all(channel.name != "NONE" for channel in frame.layout.channels)
        for calm in self._resamplers[shape].resample(frame):
            # Interleaved: PyAV counts the planes of more than eight channels wrongly, and reads beyond them.
            sound = array("h", bytes(calm.planes[0])[: calm.samples * count * 2])
            tally.add([sound[channel::count] for channel in range(count)])
            self.heard += calm.samples

    def sound(self) -> dict[str, object] | None:
        """What was heard, as `media.Sound` has it; None for nothing."""
        # A single sample is too short to be resampled, and still a recording.
        return max(self._tallies.values(), key=lambda tally: tally.samples).sound() if self._tallies else None


class _Tally:
    """Power of each channel in what was listened to, and how the first two go together."""

    def __init__(self, count: int) -> None:
        self.samples = 0
        self.is_laid_out = True
        self._channels = [0] * count
        self._both = 0
        self._pairs: list[list[int]] = []
        self._rest = array("h"), array("h")

    def turn(self) -> None:
        """Begin at another place."""
        self._count(self._rest)
        self._rest = array("h"), array("h")

    def add(self, channels: list[array[int]]) -> None:
        """Count in a piece of sound, channel by channel."""
        self.samples += len(channels[0])
        if len(channels) == 2:  # noqa: PLR2004 -- left and right
            left, right = channels
            self._both += sum(map(operator.mul, left, right))
            self._compare(left, right)
        else:
            self._count(channels)

    def _count(self, channels: Iterable[array[int]]) -> list[int]:
        powers = [sum(map(operator.mul, sound, sound)) for sound in channels]
        for number, power in enumerate(powers[: len(self._channels)]):
            self._channels[number] += power
        return powers

    def _compare(self, left: array[int], right: array[int]) -> None:
        left, right = self._rest[0] + left, self._rest[1] + right  # a codec's frame is often shorter than ours
        whole = len(left) // _FRAME_SAMPLES * _FRAME_SAMPLES
        for start in range(0, whole, _FRAME_SAMPLES):
            one, other = left[start : start + _FRAME_SAMPLES], right[start : start + _FRAME_SAMPLES]
            self._pairs.append(self._count((one, other)))
        self._rest = left[whole:], right[whole:]

    def sound(self) -> dict[str, object]:
        """What was heard, as `media.Sound` has it."""
        self.turn()
        left_alone, right_alone = self._alone()
        return {
            "levels_dbfs": [_dbfs(power / max(1, self.samples)) for power in self._channels],
            "correlation": self._correlation(),
            "left_alone": left_alone,
            "right_alone": right_alone,
            "is_laid_out": self.is_laid_out,
        }

    def _correlation(self) -> float:
        if len(self._channels) != 2 or not all(self._channels):  # noqa: PLR2004 -- left and right
            return 0.0
        return self._both / math.sqrt(math.prod(self._channels))

    def _alone(self) -> tuple[float, float]:
        if not self._pairs:
            return 0.0, 0.0
        least = max(sum(power) for power in zip(*self._pairs, strict=True)) / len(self._pairs) / _HEARD_RATIO
        heard = [pair for pair in self._pairs if max(pair) > least]
        left = sum(one > _ALONE_RATIO * other for one, other in heard)
        right = sum(other > _ALONE_RATIO * one for one, other in heard)
        return left / max(1, len(heard)), right / max(1, len(heard))


def _dbfs(power: float) -> float | None:
    return 10 * math.log10(power / _FULL_SCALE**2) if power else None


def holes(path: str, options: dict[str, str], index: int) -> dict[str, object]:
    """Decode one audio track and find where its sound stops and goes on later, in seconds from the start."""
    found: list[tuple[float, float]] = []
    end_s = 0.0
    with _open(path, options) as container:
        start_s = (container.start_time or 0) / av.time_base
        with contextlib.suppress(FFmpegError):
            for packet in container.demux(container.streams[index]):
                for frame in _frames(packet):
                    if frame.pts is None or frame.time_base is None or not frame.sample_rate:
                        continue
                    at_s = float(frame.pts * frame.time_base) - start_s
                    if at_s - end_s > _HOLE_S and len(found) < _MAX_HOLES and end_s > 0:
                        found.append((end_s, at_s))
                    end_s = max(end_s, at_s + frame.samples / frame.sample_rate)
    return {"holes": found, "end_s": end_s}


def _frames(packet: Packet[Stream]) -> list[AudioFrame]:
    try:
        return [frame for frame in packet.decode() if isinstance(frame, AudioFrame)]
    except FFmpegError:
        return []  # this packet is broken; the next one may not be


def _open(path: str, options: dict[str, str]) -> InputContainer:
    bounds = {"protocol_whitelist": "file", "probesize": str(_PROBE_BYTES), "analyzeduration": str(_ANALYZE_US)}
    return av.open("file:" + path, options=options | bounds, metadata_errors="replace")


def _container_s(time: int | None) -> float | None:
    return None if time is None else time / av.time_base


def _describe(stream: Stream, container: InputContainer, ear: _Ear | None) -> dict[str, object]:
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
        "bit_rate": (context and context.bit_rate) or (ear and ear.bit_rate()),
        "sound": ear and ear.sound(),
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

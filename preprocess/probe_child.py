"""Look into a media file with libav, in a process that may crash or hang without harm.

Run as a script, `probe_child.py look|measure <path> <demuxers>`; answers with one JSON object. It imports
nothing of this package, so that only the standard library and PyAV are loaded. The answer is
`{"format", "duration_s", …, "decodes", "streams": […]}` for `look`, `{"end_s"}` for `measure`, and
`{"error": <class name>, "text": <libav's words>}` where libav gives up.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from typing import TYPE_CHECKING

import av
from av.audio import AudioFrame, AudioStream
from av.error import FFmpegError
from av.stream import Disposition
from av.video import VideoStream

if TYPE_CHECKING:
    from av.codec import CodecContext
    from av.container import InputContainer
    from av.stream import Stream

_PROBE_BYTES = 32 << 20  # a stream that has not shown itself within this is not worth more reading
_TRIAL_PACKETS = 250  # 5 s of AAC or Opus
_ANALYZE_US = 60_000_000  # the same in time, in microseconds: audio may begin late


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
            "decodes": _decodes(container),
            "streams": [_describe(stream, container) for stream in container.streams],
        }


def _decodes(container: InputContainer) -> bool:
    """Whether some audio comes out at the start or in the middle.

    Finds what headers hide: encryption, a missing decoder, noise that only looks like a stream.
    """
    if not container.streams.audio:
        return False
    audio = container.streams.best("audio") or container.streams.audio[0]
    if _yields_sound(container, audio):
        return True
    if container.duration is None:
        return False
    try:
        container.seek(container.duration // 2 + (container.start_time or 0))
    except FFmpegError:
        return False
    return _yields_sound(container, audio)


def _yields_sound(container: InputContainer, audio: Stream) -> bool:
    # The iterator ends a damaged file early instead of raising, except for faults of the disk.
    for packet in itertools.islice(container.demux(audio), _TRIAL_PACKETS):
        with contextlib.suppress(FFmpegError):
            if any(isinstance(frame, AudioFrame) and frame.samples for frame in packet.decode()):
                return True
    return False


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

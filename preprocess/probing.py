"""From a path to what is known about the recording there."""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
from msgspec.structs import replace

from .child import Answer, Limits, ask
from .errors import NoAudio, NotMedia, ToolCrashed, ToolHung, ToolMissing, Truncated, Unreadable, Unsupported
from .ffmpeg_binary import find_ffmpeg
from .media import FORMAT_WHITELIST, MediaInfo, Sound, StreamInfo
from .source import Admitted, admit
from .timeline import clock
from .together import together
from .tracks import select, silence_warning

_CHILD = Path(__file__).with_name("probe_child.py")
_CPU_S = 30  # a probe takes milliseconds; this stops one that spins


async def probe(
    path: str | os.PathLike[str], *, track: str | None = None, timeout_s: float = 30.0, to_prepare: bool = False
) -> MediaInfo:
    """Find out what a recording is, without decoding all of it and without trusting it.

    The file is checked and sniffed here; libav then looks into it in a child process that may use no
    network, no other file, and is killed after `timeout_s` seconds or when this call is cancelled. `track` asks for
    an audio track by its number, from 1, or its language; by default the recording's own default is taken.
    `to_prepare` says that `prepare` comes next: what it needs is found and imported while the child looks.

    Raises:
        WishError: There is no such track.
        RecordingError: It is missing, unreadable, not media, cut, encrypted or without sound.
        ToolCrashed: The child died on it.
        ToolHung: The child did not answer in time.
    """
    admitted = await anyio.to_thread.run_sync(admit, os.fspath(path))
    recording = admitted.path
    # -P: a file beside the script, or in the current folder, must not stand in for a module.
    options = [f"{name}={value}" for name, value in admitted.demuxer_options]
    command = [sys.executable, "-P", str(_CHILD), "look", str(recording), FORMAT_WHITELIST, *options]
    try:
        async with together() as tasks:
            if to_prepare:
                tasks.start_soon(anyio.to_thread.run_sync, _get_ready)
            answer = await ask(command, Limits(cpu_s=_CPU_S), timeout_s=timeout_s)
    except ToolHung as error:
        raise ToolHung(
            f"Looking into {recording.name!r} took longer than {timeout_s:g} s.",
            hint="Is its disk still there and awake? Try again.",
        ) from error
    facts = _facts(recording, answer)
    if "error" in facts:
        raise _refusal(admitted, str(facts["error"]), str(facts["text"]))
    info = _media_info(admitted, facts)
    if track is not None and info.audio_streams:
        info = select(info, track)
    _check_audio(info, is_empty=facts["is_empty"])
    return replace(info, warnings=info.warnings + silence_warning(info))


def _get_ready() -> None:
    """Import what makes artifacts, and find ffmpeg: a tenth of a second that nobody has to wait for."""
    importlib.import_module(f"{__package__}.preparation")
    with suppress(ToolMissing):  # said by who needs it
        find_ffmpeg()


def _facts(recording: Path, answer: Answer) -> dict[str, Any]:
    try:
        facts = json.loads(answer.output)
    except ValueError as error:
        words = answer.last_words[-1] if answer.last_words else "no message"
        raise ToolCrashed(
            f"Looking into {recording.name!r} failed (exit status {answer.status}: {words}).",
            hint="Try `--recipe as-is` to send the file unchanged.",
        ) from error
    return cast("dict[str, Any]", facts)


def _refusal(admitted: Admitted, kind: str, text: str) -> NotMedia | Unreadable | Truncated:
    recording = admitted.path
    # libav also says "Operation not permitted", of bytes that make no sense to it.
    if kind in {"OSError", "FileNotFoundError"} or (kind == "PermissionError" and "Permission denied" in text):
        return Unreadable(f"{recording.name!r} cannot be read: {text}.", hint="Check the file and its disk.")
    if admitted.is_blank:
        raise Truncated(
            f"{recording.name!r} begins with zeros: its room on the disk was reserved, but nothing was written there.",
            hint="Copy it again from the recorder; a recovery program may find the sound elsewhere on its card.",
        )
    return NotMedia(
        f"{recording.name!r} is not an audio or video file of a known kind.",
        hint="Play it to check that it is the right file; if it plays, convert it to WAV or MP4.",
    )


def _media_info(admitted: Admitted, facts: dict[str, Any]) -> MediaInfo:
    streams = tuple(map(_stream_info, facts["streams"]))
    duration_s = facts["duration_s"]
    if admitted.demuxer_options:
        streams = tuple(replace(stream, duration_s=None) for stream in streams)
        bits_s = sum(stream.bit_rate or 0 for stream in streams)
        duration_s = admitted.size_bytes * 8 / bits_s if bits_s else None
    return MediaInfo(
        path=admitted.path,
        size_bytes=admitted.size_bytes,
        format_name=facts["format"],
        duration_s=duration_s,
        start_s=facts["start_s"],
        bit_rate=facts["bit_rate"],
        streams=streams,
        warnings=_cut_warning(admitted, facts["duration_s"]),
        demuxer_options=admitted.demuxer_options,
    )


def _cut_warning(admitted: Admitted, duration_s: float | None) -> tuple[str, ...]:
    """What the file's own header or its end says is missing, with the time that much sound takes."""
    name = admitted.path.name
    if admitted.lacks_end:
        return (f"{name!r} does not end as it should: the copy may be incomplete.",)
    if admitted.missing_bytes == 0:
        return ()
    says = f"{name!r} is {admitted.missing_bytes:,} bytes shorter than its header says"
    if admitted.length_is_of_whole or duration_s is None:
        return (f"{says}: the copy is incomplete.",)
    missing_s = duration_s * admitted.missing_bytes / admitted.size_bytes
    return (f"{says}: the copy is incomplete, about {missing_s:.1f} s are missing after {clock(duration_s)}.",)


def _stream_info(facts: dict[str, Any]) -> StreamInfo:
    heard = facts["sound"]
    sound = heard and Sound(**heard | {"levels_dbfs": tuple(heard["levels_dbfs"])})
    return StreamInfo(**facts | {"sound": sound})


def _check_audio(info: MediaInfo, *, is_empty: bool) -> None:
    if info.audio_streams and info.audio.sound is not None:
        return
    name = info.path.name
    if is_empty:
        raise NoAudio(
            f"{name!r} has an audio track with no sound in it.", hint="Was the recording stopped before it began?"
        )
    if info.audio_streams or any(stream.kind == "audio" for stream in info.streams):
        raise Unsupported(
            f"{name!r} has an audio track, but nothing in it can be decoded.",
            hint="Play it to check it; if it plays, convert it to WAV.",
        )
    raise NoAudio(f"{name!r} has no audio track.", hint="Check that sound was being recorded.")

"""Which of several audio tracks is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from .errors import WishError
from .languages import same_language

if TYPE_CHECKING:
    from .media import MediaInfo, StreamInfo


def select(info: MediaInfo, track: str) -> MediaInfo:
    """`info` with another audio track as the one to transcribe.

    Args:
        info: What is known of the recording.
        track: The track's number, counting audio tracks from 1, or its language, such as `en` or `eng`. Of several in
            one language, the one to be played by default is meant, else the first.

    Raises:
        WishError: There is no such track; the message lists those there are.
    """
    found = _numbered(info, int(track)) if track.isdecimal() else _spoken(info, track)
    if found is None:
        several = "; ".join(describe_tracks(info))
        raise WishError(
            f"{info.path.name!r} has no audio track {track!r}. It has: {several}.",
            hint="Choose one with `--track`, by its number or its language.",
        )
    return replace(info, chosen=found.index)


def _numbered(info: MediaInfo, number: int) -> StreamInfo | None:
    return info.audio_streams[number - 1] if 1 <= number <= len(info.audio_streams) else None


def _spoken(info: MediaInfo, language: str) -> StreamInfo | None:
    spoken = [stream for stream in info.audio_streams if stream.language and same_language(stream.language, language)]
    return next((stream for stream in spoken if stream.default), None) or next(iter(spoken), None)


def describe_tracks(info: MediaInfo) -> list[str]:
    """One phrase for each audio track, such as `1 (eng, aac, 2 channels, default)`."""
    return [f"{number} ({_traits(stream)})" for number, stream in enumerate(info.audio_streams, 1)]


def _traits(stream: StreamInfo) -> str:
    count = stream.channels or 0
    channels = f"{count} channel{'' if count == 1 else 's'}"
    traits = (stream.language, stream.codec, channels, "default" if stream.default else None)
    return ", ".join(trait for trait in traits if trait)


def silence_warning(info: MediaInfo) -> tuple[str, ...]:
    """What to ask the user when nothing was heard in the chosen track."""
    sound = info.audio.sound
    if sound is None or not sound.is_silent:
        return ()
    others = enumerate(info.audio_streams, 1)
    loud = [str(number) for number, stream in others if stream.sound is not None and not stream.sound.is_silent]
    where = f" Audio track {' and '.join(loud)} holds some: `--track {loud[0]}`." if loud else ""
    return ("The parts listened to hold almost no sound: was the microphone on?" + where,)

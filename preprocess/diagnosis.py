"""What an ffmpeg that failed meant to say.

Exit statuses alone are not enough: ffmpeg 5 answers 1 to nearly everything, ffmpeg 9 the low byte of its
error code; so its last words decide, and the status only where they are silent.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from .errors import (
    NoAudio,
    NotFound,
    PreprocessError,
    ToolCrashed,
    ToolKilled,
    ToolMissing,
    Truncated,
    Unreadable,
    Unsupported,
)
from .leash import CANNOT_EXECUTE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FAULTS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS})
_READ_LINES = 50  # the cause is near the end; what comes before is damage it lived through

_WORDS: tuple[tuple[re.Pattern[str], type[PreprocessError], str, str], ...] = (
    (
        re.compile(r"Unknown encoder|Encoder not found|Unrecognized option 'application'"),
        ToolMissing,
        "this ffmpeg lacks an encoder",
        "Install a complete ffmpeg, or unset SPEECHSTREAM_FFMPEG.",
    ),
    (re.compile(r"received signal"), ToolKilled, "ffmpeg was told to stop", "Run the same command again."),
    (
        re.compile(r"Cannot allocate memory"),
        ToolKilled,
        "ffmpeg ran out of memory",
        "Close other programs and run the same command again.",
    ),
    (re.compile(r"No such file"), NotFound, "it is no longer there", "Is its disk still connected?"),
    (re.compile(r"Permission denied"), Unreadable, "the system refuses to let us read it", "Check its permissions."),
    (re.compile(r"Input/output error"), Unreadable, "its disk fails to deliver it", "Check the disk."),
    (re.compile(r"moov atom not found"), Truncated, "its index is missing", "Copy it again from the recorder."),
    (re.compile(r"matches no streams"), NoAudio, "the audio track is gone", "Check that sound was being recorded."),
    (
        re.compile(r"[Dd]ecoder not found|Unknown decoder|Decoding requested, but no decoder"),
        Unsupported,
        "this ffmpeg has no decoder for it",
        "Convert it to WAV with the program that made it.",
    ),
    (
        re.compile(r"Invalid data found|error rate .* exceeds|Could not find codec parameters"),
        Unsupported,
        "too little of it can be decoded",
        "Play it to check it; a repair tool may help.",
    ),
)


def diagnose(recording: Path, status: int, last_words: Sequence[str]) -> PreprocessError:
    """The error to raise for an ffmpeg that ended with `status` (negative: killed by that signal)."""
    if status < 0:
        return _by_signal(recording, -status)
    if status == CANNOT_EXECUTE:
        return ToolMissing(
            f"ffmpeg cannot be started: {_last(last_words)}.",
            hint="Install ffmpeg again, or set SPEECHSTREAM_FFMPEG to one that runs.",
        )
    for line in reversed(last_words[-_READ_LINES:]):
        for pattern, kind, reason, hint in _WORDS:
            if pattern.search(line):
                return kind(f"{recording.name!r} could not be prepared: {reason}.", hint=hint)
    return ToolCrashed(
        f"{recording.name!r} could not be prepared: ffmpeg ended with status {status} ({_last(last_words)}).",
        hint="Run it again, or use the recipe `as-is` to send the file unchanged.",
    )


def _by_signal(recording: Path, number: int) -> ToolCrashed | ToolKilled:
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number in _FAULTS:
        return ToolCrashed(
            f"ffmpeg crashed on {recording.name!r} ({name}).",
            hint="Use the recipe `as-is` to send the file unchanged.",
        )
    hint = "Was memory short? Run the same command again."
    return ToolKilled(f"ffmpeg was killed while it read {recording.name!r} ({name}).", hint=hint)


def _last(last_words: Sequence[str]) -> str:
    return last_words[-1].strip().rstrip(".") if last_words else "it said nothing"

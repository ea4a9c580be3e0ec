"""What can go wrong between a recording and its artifact, sorted by whose matter it is.

PreprocessError
├── RecordingError        the recording's matter: another attempt with the same bytes ends the same way
│   ├── NotFound          nothing is there, or a link leads nowhere
│   ├── NotRegular        a directory, pipe, socket or device
│   ├── Unreadable        the system refuses to let us read it
│   ├── Empty             it has no bytes
│   ├── NotMedia          its bytes are something else: text, a picture, a playlist, noise
│   ├── Truncated         its index was never written, or the copy stopped early
│   ├── NoAudio           there is nothing to hear in it
│   ├── Encrypted         it is locked by DRM
│   ├── Unsupported       it is media, but this ffmpeg cannot decode it
│   └── SourceChanged     it became another file while we worked
├── WishError             the recipe asked for cannot work on this recording
├── ToolError             ffmpeg's matter
│   ├── ToolMissing       no ffmpeg runs here, or it lacks an encoder
│   ├── ToolKilled        somebody or a limit killed it
│   ├── ToolCrashed       it died, or its output is not what it claims
│   └── ToolHung          it made no progress
├── NoSpace               the disk is full, or would be
└── OutputDenied          the spool cannot be written
"""

from __future__ import annotations


class PreprocessError(Exception):
    """Root of everything this package raises on purpose.

    Attributes:
        message: One sentence that names the file and the reason.
        hint: What to do or type next; empty where nothing helps.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RecordingError(PreprocessError):
    """The recording itself cannot be prepared."""


class NotFound(RecordingError):
    """The path names nothing, or a link that leads nowhere."""


class NotRegular(RecordingError):
    """The path names a directory, a pipe, a socket or a device."""


class Unreadable(RecordingError):
    """The operating system refused to open or read the recording."""


class Empty(RecordingError):
    """The recording has no bytes."""


class NotMedia(RecordingError):
    """The bytes are not a recording: text, a picture, a playlist, noise."""


class Truncated(RecordingError):
    """The part without which nothing can be decoded is missing."""


class NoAudio(RecordingError):
    """The recording has no audio track, or none with any sound data in it."""


class Encrypted(RecordingError):
    """The recording is protected by DRM."""


class Unsupported(RecordingError):
    """The recording is media that this ffmpeg cannot decode."""


class SourceChanged(RecordingError):
    """The recording changed between the probe and the end of preparing."""


class WishError(PreprocessError):
    """The recipe the user asked for cannot work on this recording."""


class ToolError(PreprocessError):
    """The tool failed, not the recording; another attempt may end differently."""


class ToolMissing(ToolError):
    """No ffmpeg runs on this machine, or it lacks an encoder the recipe needs."""


class ToolKilled(ToolError):
    """The tool was killed by a signal or by a resource limit."""


class ToolCrashed(ToolError):
    """The tool died of a fault, or its output contradicts its own report."""


class ToolHung(ToolError):
    """The tool made no progress for longer than any disk explains."""


class NoSpace(PreprocessError):
    """The spool's disk has not enough room. Nothing partial is left behind."""


class OutputDenied(PreprocessError):
    """The spool cannot be written, or another process is writing it."""

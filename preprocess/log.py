"""ffmpeg's log, line by line: the last words worth keeping, and what of the recording was lost."""

from __future__ import annotations

import re

from msgspec import Struct

from .child import last_words

_CHATTER = re.compile(r"\[(info|verbose|debug|trace)\] ")
_STOPPED = re.compile(r"\[info\] Exiting normally, received signal")

# libswresample, when a time stamp lies ahead of the samples so far: `async=1` fills, and says how much.
_FILLED = re.compile(r"\[SWR @ \w+\] \[verbose\] adding (\d+) audio samples of silence")

# What ffmpeg 5.1 and 9.0 say of a packet that is broken, and of a file that ends too soon [measured].
_BROKEN = re.compile(
    r"Error submitting packet to decoder|Error while decoding stream|Decoding error|[Cc]orrupt|partial file"
    r"|File ended prematurely|Invalid data found"
)


class Losses(Struct, frozen=True):
    """What ffmpeg could not read of a recording.

    Attributes:
        filled_samples: Silence put where no sound could be read, in samples at the source's rate. What the audio
            begins later than the recording is part of it.
        is_broken: Whether there was anything that it complained about.
    """

    filled_samples: int = 0
    is_broken: bool = False


class Log:
    """What is kept of a log that may be endless."""

    def __init__(self) -> None:
        self.words = last_words()
        self.losses = Losses()

    def take(self, line: str) -> None:
        """Take in one line."""
        filled = _FILLED.search(line)
        if filled:
            self.losses = Losses(self.losses.filled_samples + int(filled[1]), self.losses.is_broken)
        elif not _CHATTER.search(line) or _STOPPED.search(line):
            self.words.append(line)
            if not self.losses.is_broken and _BROKEN.search(line):
                self.losses = Losses(self.losses.filled_samples, is_broken=True)

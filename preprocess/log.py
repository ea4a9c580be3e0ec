"""ffmpeg's log, line by line: the last words worth keeping, and what was filled with silence."""

from __future__ import annotations

import re

from .child import last_words

_CHATTER = re.compile(r"\[(info|verbose|debug|trace)\] ")
_STOPPED = re.compile(r"\[info\] Exiting normally, received signal")

# libswresample, when a time stamp lies ahead of the samples so far: `async=1` fills, and says how much.
_FILLED = re.compile(r"\[SWR @ \w+\] \[verbose\] adding (\d+) audio samples of silence")


class Log:
    """What is kept of a log that may be endless."""

    def __init__(self) -> None:
        self.words = last_words()
        self.filled_samples = 0

    def take(self, line: str) -> None:
        """Take in one line."""
        filled = _FILLED.search(line)
        if filled:
            self.filled_samples += int(filled[1])
        elif not _CHATTER.search(line) or _STOPPED.search(line):
            self.words.append(line)

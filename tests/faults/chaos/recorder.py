"""Somebody who still speaks: writes a recording into a pipe or a file while it is being uploaded."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECES: Final = 40
_HEADER_BYTES: Final = 44  # of a WAV, which has its length written into it when it is closed


class Recorder:
    """Says what `said` holds within `takes_s` seconds, in a thread of its own."""

    def __init__(self, said: Path, takes_s: float) -> None:
        self._said = said
        self._pause_s = takes_s / _PIECES
        self._threads: list[threading.Thread] = []

    @cached_property
    def _content(self) -> bytes:
        """What is said; `said` may be shortened later, to what came of it."""
        return self._said.read_bytes()

    def into_pipe(self, pipe: IO[bytes]) -> None:
        """Speak into a pipe until its end, or until nobody listens any more."""
        self._begin(lambda: self._feed(pipe))

    def into_file(self, path: Path, *, header_last: bool) -> None:
        """Write a file whose first piece is there at once; with `header_last` its head is put right at the end."""
        head = self._content[:_HEADER_BYTES]
        first = self._pieces()[0]
        path.write_bytes(bytes(len(head)) + first[len(head) :] if header_last else first)
        self._begin(lambda: self._append(path, head))

    def has_said(self, came: Path) -> bool:
        """Whether what came is what was said, up to some moment."""
        return self._content.startswith(came.read_bytes())

    def join(self) -> None:
        """Wait until all is said."""
        for thread in self._threads:
            thread.join()

    def _begin(self, speak: Callable[[], None]) -> None:
        thread = threading.Thread(target=speak)
        thread.start()
        self._threads.append(thread)

    def _pieces(self) -> list[bytes]:
        size = max(_HEADER_BYTES, -(-len(self._content) // _PIECES))
        return [self._content[start : start + size] for start in range(0, len(self._content), size)] or [b""]

    def _feed(self, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                for piece in self._pieces():
                    pipe.write(piece)
                    pipe.flush()
                    time.sleep(self._pause_s)
        except BrokenPipeError:
            return

    def _append(self, path: Path, head: bytes) -> None:
        with path.open("r+b") as file:
            for piece in self._pieces()[1:]:
                time.sleep(self._pause_s)
                file.seek(0, 2)
                file.write(piece)
                file.flush()
            file.seek(0)
            file.write(head)

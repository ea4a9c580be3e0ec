"""Encoded slices that wait on the disk until those before them are done, so that a kill costs none of them."""

from __future__ import annotations

import json
import os
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

import xxhash

from .refusal import told
from .splice import Segment

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "segment-{:06}"


class Segments:
    """The segments in one folder, each in a file of its own that is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, index: int, sound: str, made: Segment) -> None:
        """Keep a segment that was made of the sound with this digest.

        Raises:
            NoSpace: The disk is full.
            OutputDenied: It fails.
        """
        packets = (*made.headers, *made.packets)
        body = b"".join(packets)
        facts = {
            "sound": sound,
            "digest": xxhash.xxh3_128_hexdigest(body),
            "sizes": [len(packet) for packet in packets],
        }
        path = self._path(index)
        draft = path.with_suffix(".new")
        with told(path):
            with draft.open("wb") as file:
                file.write(json.dumps(facts).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)

    def load(self, index: int, sound: str) -> Segment | None:
        """The segment that was made of just this sound, if it is here and sound itself."""
        try:
            head, _, body = self._path(index).read_bytes().partition(b"\n")
            facts = json.loads(head)
            if (facts["sound"], facts["digest"]) != (sound, xxhash.xxh3_128_hexdigest(body)):
                return None
            spans = pairwise(accumulate(facts["sizes"], initial=0))
            head_packet, tags, *packets = (body[start:stop] for start, stop in spans)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Segment((head_packet, tags), tuple(packets))

    def drop(self, index: int) -> None:
        """Remove a segment whose bytes are in the artifact now."""
        self._path(index).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Remove every segment, and half-written ones."""
        for path in self._folder.glob(_NAME.split("{", 1)[0] + "*"):
            path.unlink(missing_ok=True)

    def _path(self, index: int) -> Path:
        return self._folder / _NAME.format(index)

"""Recordings of any size whose bytes follow from a seed, written without ever being in memory whole."""

from __future__ import annotations

import hashlib
import random
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PIECE_BYTES = 1 << 20
_ISLANDS = 62
_RATE = 48_000
_FRAME_BYTES = 4  # two channels of 16 bits
_HEADER_BYTES = 44
_SIZES_MAX = 0xFFFF_FFFF


def write_wav(path: Path, size_bytes: int, seed: int) -> str:
    """Write a file of about `size_bytes` (a whole number of frames) and return its SHA-256 in hex.

    Raises:
        ValueError: the size is beyond what RIFF's 32-bit sizes can say, or below the header's own.
    """
    content_bytes = (size_bytes - _HEADER_BYTES) // _FRAME_BYTES * _FRAME_BYTES
    if not 0 <= content_bytes <= _SIZES_MAX - _HEADER_BYTES:
        raise ValueError(f"a WAV cannot have {size_bytes} bytes")
    chance = random.Random(seed)
    whole = hashlib.sha256()
    with path.open("wb") as file:
        piece = _header(content_bytes)
        left_bytes = content_bytes
        while piece:
            whole.update(piece)
            file.write(piece)
            piece = chance.randbytes(min(_PIECE_BYTES, left_bytes))
            left_bytes -= len(piece)
    return whole.hexdigest()


def write_sparse(path: Path, size_bytes: int, seed: int) -> str:
    """Write a file that is mostly a hole, with islands of random bytes; returns its SHA-256 in hex.

    It takes the room of its islands only, whatever its size; both its ends are islands, and no two are alike.
    """
    chance = random.Random(seed)
    last = max(0, size_bytes - _PIECE_BYTES)
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for offset in (0, last, *(chance.randrange(last + 1) for _ in range(_ISLANDS))):
            file.seek(offset)
            file.write(chance.randbytes(min(_PIECE_BYTES, size_bytes)))
    return sha256_of(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header(content_bytes: int) -> bytes:
    """RIFF, `fmt ` and the head of `data` (Multimedia Programming Interface and Data Specifications 1.0)."""
    form = struct.pack("<HHIIHH", 1, 2, _RATE, _RATE * _FRAME_BYTES, _FRAME_BYTES, 16)
    riff_bytes = _HEADER_BYTES - 8 + content_bytes
    return (
        b"RIFF"
        + struct.pack("<I", riff_bytes)
        + b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + (b"data" + struct.pack("<I", content_bytes))
    )

"""Slices that were encoded apart make one stream, exact to the sample."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.command import slice_command
from preprocess.ogg import OggError, checksum, packets_of, page
from preprocess.recipes import STANDARD
from preprocess.slices import PcmFormat, Slice
from preprocess.splice import Segment, head_pages, pages, segment

WIDE = PcmFormat(16_000, 1)
if TYPE_CHECKING:
    from preprocess import Ffmpeg

Encode = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def encode(ffmpeg: Ffmpeg) -> Encode:
    """What ffmpeg makes of 16 kHz mono sound."""

    def run(sound: bytes) -> bytes:
        command = slice_command(STANDARD, WIDE, ffmpeg)
        return subprocess.run(
            command, input=sound, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        ).stdout

    return run


@pytest.fixture(scope="module")
def speech(pytestconfig: pytest.Config) -> bytes:
    return (pytestconfig.rootpath / "fixtures" / "spoken.wav").read_bytes()[44:]


def cut(sound: bytes, *frames: int) -> list[Slice]:
    edges = [0, *frames, len(sound) // WIDE.frame_bytes + 1]
    slices = []
    for index, (start, stop) in enumerate(pairwise(edges)):
        overlap = sound[max(0, start - 24) * WIDE.frame_bytes : start * WIDE.frame_bytes]
        own = sound[start * WIDE.frame_bytes : stop * WIDE.frame_bytes]
        slices.append(Slice(index, start, overlap, own, is_last=index == len(frames)))
    return slices


def spliced(slices: list[Slice], encode: Encode) -> bytes:
    stream: list[bytes] = []
    for piece in slices:
        made = segment(encode(piece.overlap + piece.sound), piece, WIDE)
        stream += head_pages(made) if not stream else []
        stream += pages(made, piece, WIDE, len(stream))
    return b"".join(stream)


def decoded_samples(stream: bytes) -> int:
    with av.open(io.BytesIO(stream), mode="r") as container:
        return sum(frame.samples for frame in container.decode(container.streams.audio[0])) // 3


def test_one_slice_is_what_ffmpeg_writes(encode: Encode, speech: bytes) -> None:
    """A recording of a single slice gives ffmpeg's own file, byte for byte."""
    assert spliced(cut(speech), encode) == encode(speech)


@pytest.mark.parametrize("extra_bytes", [0, 2, 640 - 2 * 104, 640 - 2 * 104 + 2, 638])
def test_length_is_exact(encode: Encode, speech: bytes, extra_bytes: int) -> None:
    """However the sound ends within its last packet, it decodes to as many samples as it had."""
    sound = speech[: 400 * WIDE.frame_bytes + extra_bytes]

    stream = spliced(cut(sound, 130, 251), encode)

    assert decoded_samples(stream) == len(sound) // 2
    assert len(packets_of(stream)) == len(packets_of(encode(sound)))


def test_packets_of_another_number(encode: Encode, speech: bytes) -> None:
    """An encoder that ended early is found out."""
    piece = cut(speech[:64000])[0]

    with pytest.raises(OggError, match=r"\d+ packets instead of"):
        segment(encode(piece.sound[:-640]), piece, WIDE)


def test_beyond_twelve_hours() -> None:
    """Positions go on to count where 32 bits end, at 24.8 hours."""
    packets = tuple(b"\xf8\xff\xfe" for _ in range(50))
    head = b"OpusHead\x01\x01\x38\x01" + struct.pack("<IhB", 16000, 0, 0)
    day = Slice(1500, 26 * 3600 * 50, b"", bytes(50 * WIDE.frame_bytes), is_last=True)

    (last,) = pages(Segment((head, b"OpusTags"), packets), day, WIDE, sequence=90_000)

    assert struct.unpack_from("<q", last, 6)[0] == 312 + (26 * 3600 + 1) * 48_000


def naive_checksum(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


@given(st.binary(max_size=300))
def test_checksum_is_that_of_the_rfc(data: bytes) -> None:
    """Bit for bit the division that RFC 3533 describes."""
    assert checksum(data) == naive_checksum(data)


@given(st.lists(st.binary(max_size=600), min_size=1, max_size=60))
def test_packets_survive_pages(packets: list[bytes]) -> None:
    """What goes into a page comes out of it; what does not fit is refused."""
    if sum(len(packet) // 255 + 1 for packet in packets) > 255:
        with pytest.raises(OggError, match="too many"):
            page(packets, granule=0, sequence=0)
    else:
        assert packets_of(page(packets, granule=0, sequence=0)) == packets


@pytest.mark.parametrize(
    ("hurt", "reason"),
    [
        (lambda stream: stream[:-1], "the last page is cut"),
        (lambda stream: stream[:-1] + b"!", "a page is damaged"),
        (lambda stream: stream + b"more", "no page at byte"),
        (lambda _: page([b"x" * 255], granule=0, sequence=0)[:26] + b"\x01\xff" + b"x" * 255, "a page is damaged"),
    ],
)
def test_damaged_streams(hurt: Callable[[bytes], bytes], reason: str) -> None:
    """What an encoder that was disturbed leaves behind is never taken for whole."""
    with pytest.raises(OggError, match=reason):
        packets_of(hurt(page([b"one", b"two"], granule=0, sequence=0)))

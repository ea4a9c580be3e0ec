"""The length of a fragmented MP4 by its boxes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.fragments import FragmentsError, fragments_length_s

Record = Callable[..., Path]
FRAGMENTED = ("-f", "mp4", "-movflags", "+delay_moov+default_base_moof+frag_keyframe", "-frag_duration", "500000")


def by_packets_s(path: Path) -> float:
    """Where the sound ends by the time stamps of all its packets, as libav reads them."""
    with av.open(str(path), mode="r") as container:
        stream = container.streams.audio[0]
        ends = [packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
        assert stream.time_base is not None
        return float(max(ends) * stream.time_base)


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "flac", "libopus", "alac"])
def test_it_is_what_the_packets_say(tone: Record, codec: str) -> None:
    """For every codec that is copied, priming and last sample included."""
    path = tone(f"{codec}.mp4", "-c:a", codec, *FRAGMENTED, seconds=3.33, rate=48000)

    with path.open("rb") as file:
        assert fragments_length_s(file) == pytest.approx(by_packets_s(path), abs=1e-6)


def test_the_sound_of_a_video_counts(record: Record, late_video: Path) -> None:
    """Where there are pictures too, and the sound begins late, it is the sound's end."""
    path = record("late-copy.mp4", "-i", late_video, "-map", "0", "-c", "copy", *FRAGMENTED)

    with path.open("rb") as file:
        assert fragments_length_s(file) == pytest.approx(by_packets_s(path), abs=0.001)


@pytest.fixture(scope="module")
def whole(tone: Record) -> bytes:
    return tone("whole.mp4", "-c:a", "aac", *FRAGMENTED, seconds=2).read_bytes()


def length_of(content: bytes, path: Path) -> float:
    path.write_bytes(content)
    with path.open("rb") as file:
        return fragments_length_s(file)


@pytest.mark.parametrize(
    ("hurt", "reason"),
    [
        (lambda content: content[:-1], "is cut"),
        (lambda content: content + b"\0\0\0\7abcd", "is cut"),
        (lambda content: content[: content.index(b"moof") - 4], "no sound"),
        (lambda content: content.replace(b"soun", b"vide"), "no sound"),
        (lambda _: b"", "no sound"),
    ],
)
def test_what_is_not_whole(whole: bytes, tmp_path: Path, hurt: Callable[[bytes], bytes], reason: str) -> None:
    """Anything cut or missing is found, whatever ffmpeg's exit status was."""
    with pytest.raises(FragmentsError, match=reason):
        length_of(hurt(whole), tmp_path / "x.mp4")


@given(st.integers(0, 1500), st.integers(0, 255))
def test_any_byte_may_be_wrong(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    """Whatever stands in the boxes, there is an answer or a reason, soon."""
    content = bytearray(_SAMPLE)
    content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}.mp4"
    try:
        assert length_of(bytes(content), path) is not None
    except FragmentsError as error:
        assert str(error)  # noqa: PT017 -- an error is as good an answer


def _sample() -> bytes:
    stream = io.BytesIO()
    options = {"movflags": "+delay_moov+default_base_moof+frag_keyframe", "frag_duration": "200000"}
    with av.open(stream, mode="w", format="mp4", options=options) as container:
        sound = container.add_stream("aac", rate=16000)
        for index in range(20):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate, frame.pts = 16000, 1024 * index
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return stream.getvalue()


_SAMPLE = _sample()

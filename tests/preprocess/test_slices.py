"""Where a recording's sound is cut, and what each slice carries."""

from __future__ import annotations

from array import array
from itertools import pairwise
from random import Random

import pytest

from preprocess.slices import FIRST_S, FIRST_SLICES, NOMINAL_S, OVERLAP_FRAMES, PcmFormat, Slice, Slicer

MONO = PcmFormat(8000, 1)
STEREO = PcmFormat(8000, 2)


def sliced(sound: bytes, pcm: PcmFormat = MONO, piece_bytes: int = 100_000) -> list[Slice]:
    slicer = Slicer(pcm)
    pieces = [sound[at : at + piece_bytes] for at in range(0, len(sound), piece_bytes)]
    slices = [done for piece in pieces for done in slicer.feed(piece)]
    last = slicer.finish()
    return [*slices, last] if last is not None else slices


def noise(seconds: float, pcm: PcmFormat = MONO) -> bytearray:
    return bytearray(Random(7).randbytes(round(seconds * pcm.rate_hz) * pcm.sample_bytes))


@pytest.fixture(scope="module")
def talk() -> bytes:
    """Three minutes of noise with pauses at 59.5 s and, counted from there, at 60.7 s."""
    sound = noise(180.01)
    for pause_s in (59.5, 120.2):
        frame = round(pause_s * 50) * MONO.frame_bytes
        sound[frame : frame + MONO.frame_bytes] = bytes(MONO.frame_bytes)
    return bytes(sound)


def test_cuts_lie_where_it_is_quiet(talk: bytes) -> None:
    """The quietest frame within a second of the minute begins the next slice."""
    assert [piece.first_frame / 50 for piece in sliced(talk)] == [0, 59.5, 120.2]


def test_nothing_is_lost_or_doubled(talk: bytes) -> None:
    """The slices' own sound in order is the recording; each overlap is the end of what came before."""
    slices = sliced(talk)

    assert b"".join(piece.sound for piece in slices) == talk
    assert [piece.is_last for piece in slices] == [False, False, True]
    for before, piece in pairwise(slices):
        assert piece.overlap == before.sound[-OVERLAP_FRAMES * MONO.frame_bytes :]


@pytest.mark.parametrize("piece_bytes", [1001, 5000, 65_536, 3_000_000])
def test_pieces_do_not_matter(piece_bytes: int) -> None:
    """However the sound arrives, the slices are the same."""
    sound = bytes(noise(130, STEREO))
    assert sliced(sound, STEREO, piece_bytes) == sliced(sound, STEREO)


@pytest.mark.parametrize("seconds", [0.000125, 0.02, 1, FIRST_S, FIRST_S + 2])
def test_short_recordings_are_one_slice(seconds: float) -> None:
    """Up to a second beyond the latest cut there is nothing to cut."""
    (only,) = sliced(bytes(noise(seconds)))

    assert only.is_last
    assert only.overlap == b""


def test_no_slice_is_a_scrap() -> None:
    """Just beyond that there are two, and the second is no shorter than a second."""
    first, second = sliced(bytes(noise(FIRST_S + 2.01)))

    assert len(first.sound) >= (FIRST_S - 1) * MONO.rate_hz * 2
    assert len(second.sound) >= MONO.rate_hz * 2


def test_later_slices_are_longer() -> None:
    """The first few are short, so that there is something to send soon; the others cost fewer encoders."""
    lengths_s = [len(piece.sound) / MONO.rate_hz / 2 for piece in sliced(bytes(noise(FIRST_SLICES * FIRST_S + 500)))]

    assert lengths_s == pytest.approx([FIRST_S] * FIRST_SLICES + [NOMINAL_S, NOMINAL_S, 500 - 2 * NOMINAL_S], abs=6)


def test_no_sound_no_slice() -> None:
    """Of nothing there are no slices."""
    assert sliced(b"") == []


def test_all_channels_count() -> None:
    """A pause on one channel only is no pause."""
    sound = noise(130, STEREO)
    samples = array("h", bytes(sound))
    left_pause, both_pause = round(59.2 * 8000), round(60.4 * 8000)
    samples[2 * left_pause : 2 * (left_pause + 160) : 2] = array("h", bytes(320))
    samples[2 * both_pause : 2 * (both_pause + 160)] = array("h", bytes(640))

    assert sliced(samples.tobytes(), STEREO)[1].first_frame / 50 == 60.4

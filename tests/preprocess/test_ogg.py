"""The length of an Ogg artifact by its pages."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from preprocess.ogg import OggError, ogg_length_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BITEXACT = ("-fflags", "+bitexact", "-flags:a", "+bitexact", "-ac", "1", "-ar", "16000")


@pytest.fixture(scope="session")
def opus(tone: Callable[..., Path]) -> bytes:
    """Three seconds and a bit of Opus, as ffmpeg writes it."""
    return tone("tone.ogg", "-c:a", "libopus", *BITEXACT, seconds=3.0625).read_bytes()


def pages(stream: bytes) -> list[bytes]:
    return [b"OggS" + rest for rest in stream.split(b"OggS")[1:]]


def length_s(content: bytes, folder: Path) -> float:
    (folder / "x.ogg").write_bytes(content)
    with (folder / "x.ogg").open("rb") as file:
        return ogg_length_s(file)


def test_opus_is_exact(opus: bytes, tmp_path: Path) -> None:
    """The pre-skip is not counted, and the last packet is cut where the sound ends."""
    assert length_s(opus, tmp_path) == 3.0625


@pytest.mark.parametrize("rate", [8000, 11025, 16000])
def test_flac_is_exact(tone: Callable[..., Path], tmp_path: Path, rate: int) -> None:
    """FLAC counts in its own rate, which STREAMINFO tells."""
    flac = tone(f"tone{rate}.oga", "-c:a", "flac", "-f", "ogg", rate=rate, seconds=2)

    assert length_s(flac.read_bytes(), tmp_path) == 2


@pytest.mark.parametrize(
    ("hurt", "reason"),
    [
        (lambda pages: pages[:-1], "the last page is missing"),
        (lambda pages: [*pages[:2], *pages[3:]], "page 2 is missing"),
        (lambda pages: [*pages[:-1], pages[-1][:-1]], "the last page is cut"),
        (lambda pages: [*pages, b"more"], "no page at byte"),
        (lambda pages: [pages[0][:27]], "the last page is cut"),
        (lambda _: [b"RIFF" + bytes(100)], "no page at byte 0"),
        (lambda _: [], "the last page is missing"),
        (lambda pages: [pages[0].replace(b"OpusHead", b"Speex   "), *pages[1:]], "neither Opus nor FLAC"),
    ],
)
def test_a_stream_that_is_not_whole(
    opus: bytes, tmp_path: Path, hurt: Callable[[list[bytes]], list[bytes]], reason: str
) -> None:
    """A page lost anywhere, a cut or a foreign tail is told apart from a whole stream."""
    with pytest.raises(OggError, match=reason):
        length_s(b"".join(hurt(pages(opus))), tmp_path)


def test_thirteen_hours(tmp_path: Path, opus: bytes) -> None:
    """Granules beyond 32 bits are lengths like any other (12 h and more overflow them)."""
    *head, last = pages(opus)
    samples = 13 * 3600 * 48_000
    long = last[:6] + (samples + 312).to_bytes(8, "little") + last[14:]

    assert length_s(b"".join([*head, long]), tmp_path) == pytest.approx(13 * 3600, abs=0.01)


def test_no_file_of_the_system() -> None:
    """Only real files have a size to walk to."""
    with pytest.raises(io.UnsupportedOperation):
        ogg_length_s(io.BytesIO(b""))

"""Formats that say how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.endings import has_last_page, mp3_missing_bytes

Record = Callable[..., Path]


def lacking(path: Path) -> int:
    with path.open("rb") as file:
        return mp3_missing_bytes(file, path.stat().st_size)


def ends(path: Path) -> bool:
    with path.open("rb") as file:
        return has_last_page(file, path.stat().st_size)


@pytest.mark.parametrize("options", [("-c:a", "libopus"), ("-c:a", "libvorbis"), ("-c:a", "flac")])
def test_ogg_has_a_last_page(tone: Record, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The mark is found where it is, and missed where the file was cut, by however little."""
    whole = tone(f"{options[1]}.ogg", *options, rate=48000)
    cut = tmp_path / "cut.ogg"

    assert ends(whole)
    for left in (len(whole.read_bytes()) // 2, len(whole.read_bytes()) // 10, 3):
        cut.write_bytes(whole.read_bytes()[:left])
        assert not ends(cut)


def test_mp3_counts_its_bytes(tone: Record, tmp_path: Path) -> None:
    """What the Xing header counts is compared with what is there, tags in front of it or not."""
    whole = tone("whole.mp3", "-b:a", "64k")
    bare = tone("bare.mp3", "-b:a", "64k", "-id3v2_version", "0")
    without = tone("without.mp3", "-b:a", "64k", "-write_xing", "0")
    assert whole.read_bytes().startswith(b"ID3")
    assert not bare.read_bytes().startswith(b"ID3")

    assert [lacking(path) for path in (whole, bare, without)] == [0, 0, 0]
    for path in (whole, bare):
        (tmp_path / "cut.mp3").write_bytes(path.read_bytes()[:-1000])
        assert lacking(tmp_path / "cut.mp3") == 1000


@pytest.mark.parametrize(
    "content", [b"ID3", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", b"\xff\xfb" + bytes(30) + b"Xing", b"\xff\xfbXing\xff"]
)
def test_mp3_that_ends_in_its_header(content: bytes, tmp_path: Path) -> None:
    """A header that is cut itself counts nothing."""
    (tmp_path / "a.mp3").write_bytes(content)

    assert lacking(tmp_path / "a.mp3") == 0

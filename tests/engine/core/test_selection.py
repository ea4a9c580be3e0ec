from __future__ import annotations

import pytest

from engine.core.selection import Passed, Selection, looks_like_a_recording


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("talk.wav", None),
        ("2024/June/TALK.MP3", None),
        ("zoom/GMT-1.m4a", None),
        ("REC0001", None),
        ("notes.txt", Passed.OTHER),
        ("cover.jpg", Passed.OTHER),
        (".talk.wav", Passed.HIDDEN),
        ("._talk.wav", Passed.HIDDEN),
        ("talk.wav.part", Passed.UNFINISHED),
        ("talk.mp3.crdownload", Passed.UNFINISHED),
        ("talk.wav.txt", Passed.OTHER),
    ],
)
def test_a_name_tells_what_a_file_is(file: str, why: Passed | None) -> None:
    """By its last suffix, whatever the case; what another program has not finished is not ours yet."""
    assert Selection().judge(file) == why


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        (("*.wav",), (), {"a.WAV", "raw/b.wav", "raw/old/c.wav"}),
        ((), ("*.wav",), {"d.mp3", "raw/d.mp3"}),
        ((), ("raw",), {"a.WAV", "d.mp3"}),
        ((), ("raw/old/",), {"a.WAV", "d.mp3", "raw/b.wav", "raw/d.mp3"}),
        (("raw/*",), ("old",), {"raw/b.wav", "raw/d.mp3", "raw/notes.txt"}),
        (("notes.*",), (), {"raw/notes.txt"}),
        (("*",), ("*.txt", "*.mp3"), {"a.WAV", "raw/b.wav", "raw/old/c.wav"}),
    ],
)
def test_patterns_are_those_of_a_shell(include: tuple[str, ...], exclude: tuple[str, ...], taken: set[str]) -> None:
    """Without a slash they are of names, folders' too; with one, of paths. What is included need not look like it."""
    files = ("a.WAV", "d.mp3", "raw/b.wav", "raw/d.mp3", "raw/notes.txt", "raw/old/c.wav")
    selection = Selection(include, exclude)

    def reached(file: str) -> bool:
        parts = file.split("/")[:-1]
        return all(selection.enters("/".join(parts[: depth + 1])) for depth in range(len(parts)))

    assert {file for file in files if reached(file) and selection.judge(file) is None} == taken


def test_hidden_folders_are_not_entered() -> None:
    """Trash, version control and thumbnails of desktops are not the user's recordings."""
    assert [Selection().enters(folder) for folder in (".git", "a/.Trash-1000", "a")] == [False, False, True]


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"RIFF\x00\x00\x00\x00WAVE", True),
        (b"RIFF\x00\x00\x00\x00WEBP", False),
        (b"\x00\x00\x00\x20ftypM4A ", True),
        (b"\x00\x00\x00\x20ftypheic", False),
        (b"OggS\x00", True),
        (b"G" + bytes(187) + b"G" + bytes(3), True),
        (b"Good morning", False),
        (b"import os\n", False),
        (b"", False),
    ],
)
def test_the_first_bytes_decide_where_the_name_says_nothing(head: bytes, is_one: bool) -> None:  # noqa: FBT001 - a column
    """Pictures in the same containers, and text that begins alike, are no recordings."""
    assert looks_like_a_recording(head) is is_one

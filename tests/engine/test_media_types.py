"""What a server is told a file is."""

from __future__ import annotations

import pytest

from engine.media_types import media_type


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("talk.m4a", "audio/mp4"),
        ("Talk.MP3", "audio/mpeg"),
        ("a:b/camera.MTS", "video/MP2T"),
        ("stream.ts", "video/MP2T"),
        ("notes.pdf", "application/pdf"),
        ("talk", "application/octet-stream"),
        (".mp3", "application/octet-stream"),
        ("talk.xyzzy", "application/octet-stream"),
    ],
)
def test_it_is_told_by_the_name_alone(name: str, expected: str) -> None:
    """Whatever the machine's own tables say."""
    assert media_type(name) == expected

"""The command lines that ffmpeg gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from preprocess import Ffmpeg, probe
from preprocess.command import encode_command, essence
from preprocess.recipes import COPY, LOSSLESS

if TYPE_CHECKING:
    from pathlib import Path

    from preprocess import MediaInfo, Recipe

pytestmark = pytest.mark.anyio


@pytest.fixture
async def info(video: Path) -> MediaInfo:
    return await probe(video)


def has_long_queue(info: MediaInfo, recipe: Recipe, ffmpeg: Ffmpeg) -> bool:
    return "-thread_queue_size" in encode_command(info, recipe, ffmpeg, progress_fd=3)


@pytest.mark.parametrize(
    ("version", "long"), [("5.0.3", False), ("n5.1", False), ("N-110223-gb18a9c2971", False), ("6.0", True)]
)
async def test_copy_is_queued_where_ffmpeg_has_queues(
    info: MediaInfo, ffmpeg: Ffmpeg, version: str, *, long: bool
) -> None:
    """Only releases that are known to take the option for an output get it."""
    assert has_long_queue(info, COPY, replace(ffmpeg, version=version)) == long


async def test_only_a_copy_is_queued(info: MediaInfo, ffmpeg: Ffmpeg) -> None:
    """Where sound or pictures are encoded, packets are few, and a picture's are large."""
    assert not has_long_queue(info, LOSSLESS, ffmpeg)


async def test_queue_is_no_part_of_an_artifact(info: MediaInfo) -> None:
    """Bytes do not depend on it, so an artifact that was begun without it is gone on with."""
    assert not any("queue" in word for word in essence(info, COPY))

"""Files that nobody thought of: real containers with bytes flipped, cut out, repeated and overwritten, by seed."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest

from fixtures.corpus.studio import Studio
from preprocess import Artifact, PreprocessError, RecordingError, decide, find_ffmpeg, prepare, probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio
SECONDS = 2
ROUNDS = 6 if os.environ.get("SPEECHSTREAM_FULL") else 1  # 400 seeds of each were run once
CLIP = f"-t {SECONDS} -i SPEECH"
WHOLE = {
    "a.wav": f"{CLIP}",
    "a.flac": f"{CLIP}",
    "a.mp3": f"{CLIP} -ar 44100",
    "a.aac": f"{CLIP} -ar 48000",
    "a.ogg": f"{CLIP} -c:a libopus",
    "a.m4a": f"{CLIP} -c:a aac -ar 48000 -movflags +faststart",
    "a.mkv": f"{CLIP} -c:a libopus",
    "a.avi": f"{CLIP} -ar 44100 -c:a mp3",
    "a.wma": f"{CLIP} -ar 44100",
    "a.ts": f"{CLIP} -ar 48000 -c:a mp2",
}
# Damage may make time stamps jump: then there is silence that was never recorded, but not without bounds.
LONGEST_S = 24 * 3600.0


def flip(content: bytearray, random: Random) -> None:
    """A few bits are others."""
    for _ in range(random.choice([1, 4, 64])):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def flip_head(content: bytearray, random: Random) -> None:
    """A few bits of the header are others."""
    for _ in range(random.choice([1, 2, 8])):
        content[random.randrange(min(300, len(content)))] ^= 1 << random.randrange(8)


def cut(content: bytearray, random: Random) -> None:
    """The end is not there."""
    del content[random.randrange(1, len(content)) :]


def remove(content: bytearray, random: Random) -> None:
    """A piece in the middle is not there."""
    start = random.randrange(len(content))
    del content[start : start + random.randrange(1, len(content) // 3)]


def repeat(content: bytearray, random: Random) -> None:
    """A piece is there twice."""
    start = random.randrange(len(content))
    piece = content[start : start + random.randrange(1, len(content) // 3)]
    content[start:start] = piece


def overwrite(content: bytearray, random: Random) -> None:
    """A piece is noise, or the largest of numbers, or nothing."""
    start, length = random.randrange(len(content)), random.choice([4, 8, 100, 2000])
    length = min(length, len(content) - start)
    content[start : start + length] = random.choice([random.randbytes(length), b"\xff" * length, bytes(length)])


DAMAGES: tuple[Callable[[bytearray, Random], None], ...] = (flip, flip_head, cut, remove, repeat, overwrite)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The containers before anything happened to them."""
    studio = Studio(tmp_path_factory.mktemp("wholes"))
    return {name: studio.encoded(name, options) for name, options in WHOLE.items()}


async def outcome(recording: Path, spool: Path) -> Artifact | PreprocessError:
    """What comes of a recording; anything but these two is a fault of ours."""
    try:
        with anyio.fail_after(90):
            info = await probe(recording)
            return await prepare(info, decide(info, "standard"), spool, ffmpeg=find_ffmpeg())
    except PreprocessError as error:
        return error


def damaged(whole: bytes, random: Random) -> bytes:
    """A recording after one or two misfortunes."""
    content = bytearray(whole)
    for damage in random.sample(DAMAGES, random.choice([1, 1, 2])):
        damage(content, random)
    return bytes(content)


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("name", WHOLE)
async def test_whatever_became_of_it(name: str, seed: int, wholes: dict[str, bytes], tmp_path: Path) -> None:
    """There is an artifact that plays, or an error in words; never a traceback, never a wait without end."""
    recording = tmp_path / name
    recording.write_bytes(damaged(wholes[name], Random(f"{name} {seed}")))

    found = await outcome(recording, tmp_path / "spool")

    if isinstance(found, PreprocessError):
        assert isinstance(found, RecordingError), repr(found)
        assert found.hint
        assert name in found.message
        return
    assert found.duration_s is not None
    assert 0 < found.duration_s < LONGEST_S
    command = [find_ffmpeg().path, "-v", "error", "-xerror", "-i", str(found.path), "-f", "null", "-"]
    assert (await anyio.run_process(command)).stderr == b""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from preprocess import Artifact, Ffmpeg, MediaInfo, PreparingEvent, Progress, Wish, decide, find_ffmpeg, prepare, probe

Record = Callable[..., Path]
Prepare = Callable[..., Awaitable[Artifact]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def ffmpeg() -> Ffmpeg:
    return find_ffmpeg()


@pytest.fixture(scope="session")
def run_ffmpeg(ffmpeg: Ffmpeg) -> Callable[..., None]:
    """Run ffmpeg with the given arguments, as a recorder or an editing program would."""

    def run(*arguments: str | Path) -> None:
        command = [ffmpeg.path, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
        subprocess.run(command, check=True)

    return run


@pytest.fixture(scope="session")
def record(run_ffmpeg: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Make a recording by name and ffmpeg arguments; made once, so tests must not write to it."""
    folder = tmp_path_factory.mktemp("recordings")

    @functools.cache
    def make(name: str, *arguments: str | Path) -> Path:
        run_ffmpeg(*arguments, folder / name)
        return folder / name

    return make


@pytest.fixture(scope="session")
def tone(record: Record) -> Callable[..., Path]:
    """A sine tone of some seconds in the format the name asks for."""

    def make(name: str, *arguments: str, seconds: float = 3, rate: int = 44100) -> Path:
        return record(name, "-f", "lavfi", "-i", f"sine=f=440:r={rate}:d={seconds}", *arguments)

    return make


@pytest.fixture(scope="session")
def video(record: Record) -> Path:
    """Six seconds of moving picture with a tone, index in front."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=6")
    sound = ("-f", "lavfi", "-i", "sine=f=440:r=48000:d=6")
    return record("video.mp4", *picture, *sound, "-c:a", "aac", "-preset", "ultrafast", "-movflags", "+faststart")


@pytest.fixture(scope="session")
def late_video(record: Record, video: Path) -> Path:
    """The same video, its sound beginning five seconds after its picture."""
    return record(
        "late.mp4", "-i", video, "-itsoffset", "5", "-i", video, *("-map", "0:v", "-map", "1:a", "-c", "copy")
    )


@pytest.fixture(scope="session")
def opposite(record: Record) -> Path:
    """A tone on two channels, the right one upside down."""
    return record("opposite.wav", "-f", "lavfi", "-i", "sine=d=3", "-af", "pan=stereo|c0=c0|c1=-1*c0")


@pytest.fixture
def cut_video(video: Path, tmp_path: Path) -> Path:
    """The first half of the video's bytes."""
    whole = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "cut.mp4"


@pytest.fixture(scope="session")
def known() -> dict[tuple[Path, int], MediaInfo]:
    """What probes have found in recordings, by path and time: many tests share one."""
    return {}


@pytest.fixture
def prepared(ffmpeg: Ffmpeg, tmp_path: Path, known: dict[tuple[Path, int], MediaInfo]) -> Prepare:
    """Probe, decide and prepare in one go."""

    async def run(
        path: Path,
        wish: Wish = "standard",
        into: Path | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> Artifact:
        key = path, path.stat().st_mtime_ns
        if key not in known:
            known[key] = await probe(path)
        info = known[key]

        def tell(event: PreparingEvent) -> None:
            if report is not None and isinstance(event, Progress):
                report(event)

        return await prepare(info, decide(info, wish), into or tmp_path / "spool", ffmpeg=ffmpeg, report=tell)

    return run

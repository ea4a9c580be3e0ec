from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from engine.errors import RecordingError
from engine.events import Waiting
from engine.runtime.folder import Folder
from engine.runtime.watching import Watch
from engine.runtime.writers import being_written
from tests.engine.world import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.world import Events

pytestmark = pytest.mark.anyio
SETTLE_S = 30.0


class Recorder(FakeClock):
    """A clock by which things happen to a folder: each once, when its time has come."""

    def __init__(self, happenings: dict[float, Callable[[], object]]) -> None:
        super().__init__(0.0)
        self._happenings = dict(happenings)

    async def sleep(self, seconds: float) -> None:
        """Time passes at once, and with it what happens meanwhile."""
        await super().sleep(seconds)
        for due_s in sorted(self._happenings):
            if due_s <= self.now_s:
                self._happenings.pop(due_s)()


async def found(watch: Watch, count: int, until_s: float = 1000.0) -> list[tuple[str, int]]:
    """The names of the next recordings and when each was found, in whole seconds."""
    seen: list[tuple[str, int]] = []
    async with aclosing(watch.found()) as files:
        async for file in files:
            seen.append((str(file.path.relative_to(watch.folder.root)), int(watch.clock.monotonic())))
            if len(seen) == count or watch.clock.monotonic() > until_s:
                break
    return seen


def watch(folder: Path, clock: FakeClock, told: Events, *, new_only: bool = False, once: bool = False) -> Watch:
    return Watch(Folder(folder), SETTLE_S, clock, told.append, new_only=new_only, once=once)


async def test_what_is_there_and_what_comes_is_found_when_it_has_settled(tmp_path: Path, told: Events) -> None:
    """A recording that goes on growing is found half a minute after its last byte, others at their time."""
    growing = tmp_path / "growing.wav"

    def grow() -> None:
        with growing.open("a") as file:
            file.write("more")

    (tmp_path / "old.wav").write_text("sound")
    grow()
    clock = Recorder({10.0: grow, 20.0: grow, 40.0: lambda: (tmp_path / "new.wav").write_text("sound")})
    names = await found(watch(tmp_path, clock, told), 3)
    assert [name for name, _ in names] == ["old.wav", "growing.wav", "new.wav"]
    assert [at for _, at in names] == pytest.approx([30, 51, 71], abs=6)


async def test_a_file_gets_its_name_when_it_is_finished(tmp_path: Path, told: Events) -> None:
    """Until then it is passed over; renamed, it is waited for like any other."""
    part = tmp_path / "talk.wav.part"
    part.write_text("sound")
    clock = Recorder({100.0: lambda: part.rename(tmp_path / "talk.wav")})
    ((name, at_s),) = await found(watch(tmp_path, clock, told), 1)
    assert (name, at_s > 100 + SETTLE_S - 1) == ("talk.wav", True)


async def test_a_folder_that_goes_is_waited_for(tmp_path: Path, told: Events) -> None:
    """A stick that is pulled out and put back: said once, and nothing of it is found a second time."""
    folder, away = tmp_path / "stick", tmp_path / "away"
    folder.mkdir()
    (folder / "a.wav").write_text("sound")

    def back() -> None:
        away.rename(folder)
        (folder / "b.wav").write_text("more sound")

    clock = Recorder({50.0: lambda: folder.rename(away), 200.0: back})
    assert [name for name, _ in await found(watch(folder, clock, told), 2)] == ["a.wav", "b.wav"]
    assert [event.reason for event in told.of(Waiting) if isinstance(event, Waiting)] == [
        f"the folder {folder} is gone; it may come back"
    ]


async def test_only_what_is_new(tmp_path: Path, told: Events) -> None:
    """What was there stays where it is."""
    (tmp_path / "old.wav").write_text("sound")
    clock = Recorder({50.0: lambda: (tmp_path / "new.wav").write_text("sound")})
    assert [name for name, _ in await found(watch(tmp_path, clock, told, new_only=True), 1)] == ["new.wav"]


async def test_once_ends_with_the_last_that_was_there(tmp_path: Path, told: Events) -> None:
    """What comes meanwhile is another run's; what vanishes is not waited for."""
    for name in ("a.wav", "b.wav", "gone.wav"):
        (tmp_path / name).write_text("sound")
    clock = Recorder({5.0: lambda: (tmp_path / "late.wav").write_text("sound"), 10.0: (tmp_path / "gone.wav").unlink})
    names = await found(watch(tmp_path, clock, told, once=True), 99)
    assert [name for name, _ in names] == ["a.wav", "b.wav"]


async def test_what_came_to_nothing_is_found_again(tmp_path: Path, told: Events) -> None:
    """A minute later, and after that once a minute; what came to something never."""
    (tmp_path / "a.wav").write_text("sound")
    (tmp_path / "b.wav").write_text("sound")
    recorder = watch(tmp_path, FakeClock(0.0), told)
    seen: list[str] = []
    async with aclosing(recorder.found()) as files:
        async for file in files:
            seen.append(file.path.name)
            if file.path.name == "a.wav":
                recorder.return_(file.path)
            else:
                recorder.done(file.path)
            if recorder.clock.monotonic() > 200:
                break
    assert seen == ["a.wav", "b.wav", "a.wav", "a.wav", "a.wav"]


async def test_a_folder_that_never_was(tmp_path: Path, told: Events) -> None:
    """Is an error, and not waited for: more likely than a stick is a slip of the pen."""
    with pytest.raises(RecordingError, match="nowhere"):
        await found(watch(tmp_path / "nowhere", FakeClock(), told), 1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")
def test_a_file_that_somebody_has_open_for_writing_is_told(tmp_path: Path) -> None:
    """Of another process, under the file's real name; one that only reads it is no writer."""
    for name in ("written", "read", "left"):
        (tmp_path / name).write_text("sound")
    (tmp_path / "link").symlink_to(tmp_path / "written")
    program = "import sys; f = open(sys.argv[1], 'a'); g = open(sys.argv[2]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "written", tmp_path / "read"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as recorder:
        assert recorder.stdout is not None
        recorder.stdout.readline()
        names = [str(tmp_path / name) for name in ("link", "read", "left")]
        assert being_written(names) == {str(tmp_path / "link")}
        assert recorder.stdin is not None
        recorder.stdin.close()

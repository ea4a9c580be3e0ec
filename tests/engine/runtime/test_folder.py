from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from engine.core.selection import Passed, Selection
from engine.errors import RecordingError
from engine.runtime.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"RIFF\x00\x00\x00\x00WAVE")


def listed(folder: Folder) -> list[str]:
    return [str(found.path.relative_to(folder.root)) for found in folder.recordings()]


def test_a_folder_is_listed_in_the_order_of_names(tmp_path: Path) -> None:
    """Below it too; what is passed over is counted by its reason."""
    fill(tmp_path, "b.wav", "a/2.wav", "a/10.wav", "REC1", "notes.txt", ".hidden.wav", ".git/x.wav")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "README").write_text("no recording")
    folder = Folder(tmp_path)
    assert listed(folder) == ["REC1", "a/10.wav", "a/2.wav", "b.wav"]
    assert folder.passed == {Passed.OTHER: 2, Passed.HIDDEN: 1, Passed.EMPTY: 1}
    assert listed(folder) == ["REC1", "a/10.wav", "a/2.wav", "b.wav"], "a listing may be repeated"
    assert folder.passed.total() == 4


def test_links_are_followed_and_never_round_in_a_circle(tmp_path: Path) -> None:
    """A linked file and a linked folder count, each folder once; a link that leads back, or nowhere, ends there."""
    fill(tmp_path, "outside/far.wav", "in/a.wav")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/up").symlink_to("..")
    (tmp_path / "in/linked.wav").symlink_to(tmp_path / "outside/far.wav")
    (tmp_path / "in/nowhere.wav").symlink_to("nothing")
    folder = Folder(tmp_path / "in")
    assert listed(folder) == ["a.wav", "linked.wav", "up/outside/far.wav"]
    assert folder.passed == {Passed.BROKEN: 1}


def test_our_own_state_is_no_recording(tmp_path: Path) -> None:
    """Artifacts of other jobs lie in a folder that is not looked into, under whatever name it is reached."""
    fill(tmp_path, "state/jobs/x/spool/artifact.ogg", "a.wav")
    (tmp_path / "link").symlink_to("state")
    assert listed(Folder(tmp_path, but=tmp_path / "state")) == ["a.wav"]


def test_what_is_left_out_is_not_even_opened(tmp_path: Path) -> None:
    """A folder that nobody wants may be on a disk that hangs."""
    fill(tmp_path, "raw/a.wav", "b.wav")
    seen: list[str] = []

    class Watched(Selection, frozen=True):
        def judge(self, file: str) -> Passed | None:
            seen.append(file)
            return super().judge(file)

    assert listed(Folder(tmp_path, Watched(exclude=("raw",)))) == ["b.wav"]
    assert seen == ["b.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    """The rest is listed all the same."""
    fill(tmp_path, "closed/a.wav", "b.wav")
    (tmp_path / "closed").chmod(0)
    folder = Folder(tmp_path)
    assert listed(folder) == ["b.wav"]
    assert [error.reason for error in folder.unreadable] == ["Unreadable"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Is an error that names it."""
    with pytest.raises(RecordingError, match="gone cannot be read"):
        listed(Folder(tmp_path / "gone"))


def test_a_listing_asks_for_no_more_than_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders behind the recordings that are taken are not read before their turn."""
    fill(tmp_path, *(f"{number}/a.wav" for number in range(9)))
    read: list[str] = []
    scandir = os.scandir

    def counted(path: Path) -> Iterator[os.DirEntry[str]]:
        read.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    files = Folder(tmp_path).recordings()
    assert [next(files).path.parent.name for _ in range(2)] == ["0", "1"]
    assert len(read) == 3

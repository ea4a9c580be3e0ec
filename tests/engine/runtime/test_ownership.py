from __future__ import annotations

import errno
import fcntl
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import StateError
from engine.runtime.ownership import owned

ROOT = Path(__file__).resolve().parents[3]
OWNER = """
import sys
from pathlib import Path
from engine.runtime.ownership import owned
with owned(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def other_process(folder: Path) -> subprocess.Popen[str]:
    """Another process that tries to own the folder, and holds on until its stdin closes."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_job_has_one_owner_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    """While another process lives it is the owner; killed without warning, it leaves the job to the next."""
    with other_process(tmp_path) as process:
        assert answer_of(process) == "True"
        with owned(tmp_path) as mine:
            assert not mine
        process.send_signal(signal.SIGKILL)
        process.wait()
        with owned(tmp_path) as mine:
            assert mine


def test_an_owner_keeps_others_out_until_it_lets_go(tmp_path: Path) -> None:
    """The second process is told at once, and does not wait."""
    with owned(tmp_path) as mine:
        assert mine
        with other_process(tmp_path) as process:
            assert answer_of(process) == "False"
    with other_process(tmp_path) as process:
        assert answer_of(process) == "True"


def test_one_process_may_not_own_a_job_twice(tmp_path: Path) -> None:
    """Two recordings given twice in one command are one job, worked on once."""
    with owned(tmp_path) as first, owned(tmp_path) as second:
        assert (first, second) == (True, False)


def test_a_folder_that_is_gone_is_nobodys(tmp_path: Path) -> None:
    """Its owner removes it behind itself, perhaps just before another looks."""
    with owned(tmp_path / "job") as mine:
        assert not mine
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_folder_goes_meanwhile_guards_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes next makes a folder and a lock of the same name: both would own the job."""
    flock = fcntl.flock

    def removed_first(descriptor: int, how: int) -> None:
        shutil.rmtree(tmp_path / "job")
        flock(descriptor, how)

    (tmp_path / "job").mkdir()
    monkeypatch.setattr(fcntl, "flock", removed_first)
    with owned(tmp_path / "job") as mine:
        assert not mine


def test_a_file_system_without_locks_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks two processes could send the same recording: nothing is done there."""

    def none(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(StateError, match="No locks available") as told, owned(tmp_path):
        pass
    assert "SPEECHSTREAM_STATE_DIR" in (told.value.hint or "")


def test_a_folder_that_cannot_be_locked(tmp_path: Path) -> None:
    """A file in the folder's place is told as a fault of the state folder."""
    (tmp_path / "job").write_bytes(b"")
    with pytest.raises(StateError), owned(tmp_path / "job"):
        pass

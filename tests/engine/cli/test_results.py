"""Where results go, and what must never be overwritten."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.cli.results import as_json, require_not_the_recording, require_writable, transcript_path, write_atomically
from engine.errors import OutputError
from tests.engine.crowd import populate

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Shell

SPOKEN = Path(__file__).parents[3] / "fixtures" / "spoken.wav"


def test_a_result_replaces_the_old_one_whole(tmp_path: Path) -> None:
    """The old text or the new one, with the mode that any new file gets, and nothing else left behind."""
    target = tmp_path / "notes.txt"
    target.write_text("old")

    write_atomically(target, "new\n")

    assert target.read_text() == "new\n"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The file that a link names is written; the link stays one."""
    target, link = tmp_path / "real.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)

    write_atomically(link, "new")

    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """What is no regular file is not replaced by one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        write_atomically(pipe, "words\n")
        heard, _ = reader.communicate(timeout=30)

    assert heard == "words\n"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    """The draft's own name is short, so every name that the file system takes can be written."""
    target = tmp_path / ("n" * 255)
    write_atomically(target, "words")
    assert target.read_text() == "words"


@pytest.mark.parametrize("spelling", ["a.wav", "./a.wav", "hard.wav", "soft.wav"])
def test_the_recording_is_never_the_result(tmp_path: Path, spelling: str) -> None:
    """Under whatever name: what cannot be made again is not overwritten."""
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"sound")
    (tmp_path / "hard.wav").hardlink_to(recording)
    (tmp_path / "soft.wav").symlink_to(recording)

    with pytest.raises(OutputError, match="is the recording itself"):
        require_not_the_recording(tmp_path / spelling, recording)


def test_two_results_never_share_a_file(tmp_path: Path) -> None:
    """Recordings of one stem are told apart before the work, not by the last one winning."""
    with pytest.raises(OutputError, match="would go to one file"):
        require_writable(tmp_path, [Path("x/talk.mp4"), Path("y/talk.wav")], ".txt")


def test_several_results_need_a_folder(tmp_path: Path) -> None:
    """One file cannot hold them."""
    with pytest.raises(OutputError, match="is not a folder"):
        require_writable(tmp_path / "one.txt", [Path("a.wav"), Path("b.wav")], ".txt")


def test_a_folder_takes_a_file_named_after_the_recording(tmp_path: Path) -> None:
    """`-o DIR` and `-o FILE` are told apart by what is there."""
    assert transcript_path(tmp_path, "/x/talk.mp4", ".txt") == tmp_path / "talk.txt"
    assert transcript_path(tmp_path / "t", "/x/talk.mp4", ".txt") == tmp_path / "t"


def test_a_name_that_is_no_text_becomes_valid_json() -> None:
    """Bytes of a file name that are no UTF-8 come as escapes that a JSON reader takes."""
    assert as_json({"source": os.fsdecode(b"bad\xff.wav"), "text": "é"}) == '{"source": "bad\\udcff.wav", "text": "é"}'


@pytest.mark.parametrize("command", ["prepare", "transcribe"])
def test_the_command_keeps_the_recording_from_its_own_result(shell: Shell, tmp_path: Path, command: str) -> None:
    """`-o` with the recording's own name is refused before anything is done."""
    recording = tmp_path / "talk.wav"
    recording.write_bytes(SPOKEN.read_bytes())

    done = shell.run(command, "talk.wav", "-o", "talk.wav", *(["--local"] if command == "transcribe" else []))

    assert done.returncode == 1
    assert "is the recording itself" in done.stderr
    assert recording.read_bytes() == SPOKEN.read_bytes()


def test_prepare_takes_a_name_that_is_no_text(shell: Shell, tmp_path: Path) -> None:
    """File names are data: any bytes the file system takes."""
    name = os.fsdecode(b"bad\xff.wav")
    (tmp_path / name).write_bytes(SPOKEN.read_bytes())

    done = shell.run("prepare", "--recipe", "standard", "-o", "out.ogg", "--", name)

    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out.ogg'}\n")
    assert (tmp_path / "out.ogg").read_bytes().startswith(b"OggS")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_behind_stdout_is_the_users_matter(shell: Shell) -> None:
    """One sentence and exit 1, no trace."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            shell.command("--help"),
            env=shell.environment,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert "There is no space left where the output goes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_long_list_of_jobs_ends_with_the_newest(shell: Shell) -> None:
    """The newest fifty are listed unless others are asked for, and how many more there are is said on stderr."""
    populate(shell.home / "state", 120)
    newest, failed = shell.run("jobs"), shell.run("jobs", "--state", "processing", "--limit", "2", "--json")
    assert (len(newest.stdout.splitlines()), newest.stdout.split()[-1]) == (1 + 50, "take-000120.wav")
    assert newest.stderr.startswith("the newest 50 of 120 jobs\n")
    assert [json.loads(line)["job_id"] for line in failed.stdout.splitlines()] == ["j0006d", "j00077"]
    assert len(shell.run("jobs", "--all", "--json").stdout.splitlines()) == 120
    assert len(shell.run("jobs", "--unfinished", "--all").stdout.splitlines()) == 1 + 12

"""Real disks in trouble: full, read-only, failing. Each is told as what it is, and the same command goes on after it.

The disks are small ones in memory, mounted where only the command sees them (`unshare`, util-linux).
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.command import PROGRAM, environment
from tests.faults.recording import write_wav
from tests.faults.scripted import TEXT, Asked, ScriptedService, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = random.Random(11).randbytes(3_000_000)
_PATIENCE_S = 100
_MOMENT_S = 0.02


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """The far side, which is in order."""
    with ScriptedService() as service:
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording on a disk that is in order."""
    path = tmp_path / "talk.mp4"
    path.write_bytes(CONTENT)
    return path


def on_a_disk_of_its_own(script: str, state: Path, service: ScriptedService, *words: Path) -> list[str]:
    """Run a shell script in which `$STATE` may be mounted upon and `s` is the command; the lines it printed."""
    state.mkdir(mode=0o700)
    own = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk of their own")
    prologue = f"""
        set -u; STATE="{state}"
        s() {{ "{PROGRAM}" "$@" --json --progress none; echo "exit $?"; }}
        jobs() {{ "{PROGRAM}" jobs --json; }}
    """
    done = subprocess.run(
        [*own, "sh", "-c", prologue + script, "sh", *words],
        env=environment(state, service.endpoint),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout.splitlines()


def told(line: str) -> tuple[str, str, str]:
    """An error's kind, message and hint."""
    error = json.loads(line)
    return error["error"], error["message"], error["hint"]


def test_a_full_disk_under_the_manifest(service: ScriptedService, tmp_path: Path, recording: Path) -> None:
    """The job is there, the disk fills up: told so and nothing is sent; with room again, it is still there."""
    service.replying = lambda asked: reply(401) if asked.method == "PATCH" else None
    lines = on_a_disk_of_its_own(
        """
        mount -t tmpfs -o size=2m,mode=700 none "$STATE"
        s upload "$1" --recipe as-is 2>/dev/null
        cat /dev/zero > "$STATE/filler" 2>/dev/null
        s upload "$1" --recipe as-is
        rm "$STATE/filler"
        jobs
        """,
        tmp_path / "state",
        service,
        recording,
    )
    assert lines[0] == "exit 75"
    kind, message, hint = told(lines[1])
    assert (kind, lines[2]) == ("OutputError", "exit 1")
    assert message == f"There is no space left for the manifest {tmp_path / 'state'}/manifest.db"
    assert "speechstream resume" in hint
    assert json.loads(lines[3])["state"] == "uploading"
    assert service.jobs == {}


def test_a_disk_that_fills_up_under_the_upload(service: ScriptedService, tmp_path: Path, recording: Path) -> None:
    """What was acknowledged cannot be noted any more: told so; with room the same job goes on, and nothing is lost."""
    now, full = tmp_path / "now", tmp_path / "full"

    def fill_up(asked: Asked) -> None:
        if asked.method == "PATCH" and not full.exists():
            now.touch()
            while not full.exists():
                time.sleep(_MOMENT_S)

    service.replying = fill_up
    lines = on_a_disk_of_its_own(
        """
        mount -t tmpfs -o size=2m,mode=700 none "$STATE"
        ( until [ -e "$2" ]; do sleep 0.02; done; cat /dev/zero > "$STATE/filler" 2>/dev/null; touch "$3" ) &
        s upload "$1" --recipe as-is
        rm "$STATE/filler"
        s transcribe "$1" --recipe as-is
        """,
        tmp_path / "state",
        service,
        *(recording, now, full),
    )
    assert (told(lines[0])[0], lines[1]) == ("OutputError", "exit 1")
    assert (json.loads(lines[2])["text"], lines[3]) == (TEXT, "exit 0")
    assert list(service.jobs.values()) == [CONTENT]
    assert len(service.uploads) == 1


def test_a_full_disk_under_the_spool(service: ScriptedService, tmp_path: Path) -> None:
    """Preparing needs more room than there is: told by its size or place; with room, the same command goes on."""
    recording = tmp_path / "talk.wav"
    write_wav(recording, 8_000_000, seed=3)
    lines = on_a_disk_of_its_own(
        """
        mount -t tmpfs -o size=3m,mode=700 none "$STATE"
        s upload "$1" --recipe lossless
        mount -o remount,size=64m "$STATE"
        s upload "$1" --recipe lossless
        ls "$STATE"/jobs/*/spool
        """,
        tmp_path / "state",
        service,
        recording,
    )
    kind, message, hint = told(lines[0])
    assert (kind, lines[1]) == ("OutputError", "exit 1"), lines
    assert "MB are free" in message
    assert hint
    assert lines[3] == "exit 0"
    assert len(service.jobs) == 1
    assert "artifact.partial" not in lines[4:]


def test_a_state_folder_gone_read_only(service: ScriptedService, tmp_path: Path, recording: Path) -> None:
    """Between two runs it was mounted read-only: one sentence, nothing is sent; writable again, the job is there."""
    service.replying = lambda asked: reply(401) if asked.method == "PATCH" else None
    lines = on_a_disk_of_its_own(
        """
        mount -t tmpfs -o size=8m,mode=700 none "$STATE"
        s upload "$1" --recipe as-is 2>/dev/null
        mount -o remount,ro "$STATE"
        s upload "$1" --recipe as-is
        s doctor
        s doctor --repair
        mount -o remount,rw "$STATE"
        jobs
        """,
        tmp_path / "state",
        service,
        recording,
    )
    kind, message, hint = told(lines[1])
    assert (lines[0], kind, lines[2]) == ("exit 75", "StateError", "exit 2")
    assert message == f"The state folder {tmp_path / 'state'} cannot be used: Read-only file system"
    assert "SPEECHSTREAM_STATE_DIR" in hint
    (finding,) = [json.loads(line) for line in lines if '"check": "state"' in line]
    assert (finding["verdict"], finding["hint"]) == ("error", hint)
    assert json.loads(lines[-1])["state"] == "uploading"


def test_a_limit_on_the_size_of_files(service: ScriptedService, tmp_path: Path, recording: Path) -> None:
    """A quota that SQLite only knows as an I/O error is told with the place, and without it the same command ends."""
    state = tmp_path / "state"
    surroundings = environment(state, service.endpoint)
    words = [str(PROGRAM), "upload", str(recording), "--recipe", "as-is", "--json", "--progress", "none"]
    limited = subprocess.run(
        words,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (48 << 10, 48 << 10)),
    )
    kind, message, hint = told(limited.stderr)
    assert (limited.returncode, kind) == (2, "StateError")
    assert str(state / "manifest.db") in message
    assert "quota" in hint
    freed = subprocess.run(words, env=surroundings, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    assert freed.returncode == 0, freed.stderr
    assert list(service.jobs.values()) == [CONTENT]


def test_a_state_folder_that_is_not_ours(service: ScriptedService, tmp_path: Path, recording: Path) -> None:
    """A file stands where the folder should be: told so, and the file is left alone."""
    state = tmp_path / "state"
    state.write_bytes(b"somebody's notes")
    done = subprocess.run(
        [str(PROGRAM), "upload", str(recording), "--json", "--progress", "none"],
        env={**environment(state, service.endpoint), "HOME": os.fspath(tmp_path)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert (done.returncode, told(done.stderr)[0]) == (2, "StateError")
    assert state.read_bytes() == b"somebody's notes"

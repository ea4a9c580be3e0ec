"""A folder of recordings, the real command, and no mercy: whatever interrupts it, each recording makes one job."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from engine.runtime.manifest import Manifest
from tests.faults.command import Command, environment
from tests.faults.service import Service

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE_S = 120.0
_GLANCE_S = 0.01


def fill(folder: Path, count: int, size_bytes: int) -> set[str]:
    """So many recordings that all differ, in folders of ten; returns their digests."""
    digests = set()
    for number in range(count):
        content = random.Random(number).randbytes(size_bytes + number)
        path = folder / f"day-{number // 10}" / f"take-{number:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digests.add(hashlib.sha256(content).hexdigest())
    return digests


def take_the_limit_away(state: Path) -> None:
    """Forget every call in the moment it is noted: 60 recordings would take a quarter of an hour."""
    Manifest(state).close()
    with closing(sqlite3.connect(state / "manifest.db")) as database:
        database.execute("CREATE TRIGGER hurry AFTER INSERT ON pace BEGIN DELETE FROM pace WHERE id = NEW.id; END")


@pytest.mark.parametrize(
    ("count", "kills"), [pytest.param(12, 2, id="few"), pytest.param(64, 8, marks=pytest.mark.long, id="many")]
)
def test_a_folder_survives_any_number_of_kills(tmp_path: Path, count: int, kills: int) -> None:
    """Killed again and again, the same command goes on; each recording arrives whole, once, and makes one job."""
    wanted, chance, state = fill(tmp_path / "recordings", count, 200_000), random.Random(count), tmp_path / "state"
    take_the_limit_away(state)
    with Service(tmp_path / "service", options=("--no-transcriber", "--uploads-per-minute", "100000")) as service:
        given = environment(state, f"http://127.0.0.1:{service.port}/v1")
        words = ("upload", str(tmp_path / "recordings"), "--recipe", "as-is", "--json", "--progress", "none")
        for _ in range(kills):
            with Command(words, given) as command:
                until = time.monotonic() + chance.uniform(0.4, 1.2)
                while time.monotonic() < until and not command.ended:
                    time.sleep(_GLANCE_S)
                command.kill()
        with Command(words, given) as command:
            code, printed = command.finish(_PATIENCE_S)
        receipts = [json.loads(line) for line in printed.splitlines()]
        arrived = {hashlib.sha256(path.read_bytes()).hexdigest() for path in service.recordings().values()}
        assert code == 0, command.complaints
        assert sorted(receipt["processing_id"] for receipt in receipts) == sorted(service.jobs())
        assert (len(service.jobs()), arrived) == (count, wanted)
        assert len({receipt["source"] for receipt in receipts}) == count
    with Manifest(state) as manifest:
        assert [folder.name for folder in manifest.job_folders() if (folder / "spool").exists()] == []


def test_what_fails_is_said_last_and_stops_nothing(tmp_path: Path) -> None:
    """Two of five cannot be used: three arrive, each failure is told, the exit code is the gravest."""
    folder, state = tmp_path / "recordings", tmp_path / "state"
    fill(folder, 3, 50_000)
    (folder / "a.mp3").write_bytes(b"no sound")
    (folder / "b.mp3").write_bytes(b"nor here")
    (folder / "notes.txt").write_text("who spoke when")
    with Service(tmp_path / "service") as service:
        given = environment(state, f"http://127.0.0.1:{service.port}/v1")
        # what is no recording by its content is found out by preparing; as it is, anything goes
        with Command(("upload", str(folder), "--include", "*.wav", "--recipe", "as-is"), given) as command:
            assert command.finish(_PATIENCE_S)[0] == 0
        with Command(("upload", str(folder), "--exclude", "day-*", "--json"), given) as command:
            code, printed = command.finish(_PATIENCE_S)
        summary = json.loads(command.complaints[-1])
    assert (code, printed, len(service.jobs())) == (1, "", 3)
    assert summary["summary"] == {"done": 0, "failed": 2, "total": 2}
    assert summary["passed_over"] == {"other": 1}
    assert sorted(failure["about"].rpartition("/")[2] for failure in summary["failures"]) == ["a.mp3", "b.mp3"]


def test_several_files_are_worked_on_at_once_and_told_in_their_order(tmp_path: Path) -> None:
    """As a shell writes out `*.wav`: the first is the largest, one is missing, and a folder was not meant at all."""
    state, names = tmp_path / "state", ("c.wav", "b.wav", "gone.wav", "a.wav")
    for number, size_bytes in enumerate((9_000_000, 60_000, 50_000)):
        (tmp_path / [name for name in names if name != "gone.wav"][number]).write_bytes(
            random.Random(number).randbytes(size_bytes)
        )
    with Service(tmp_path / "service") as service:
        given = environment(state, f"http://127.0.0.1:{service.port}/v1")
        words = ("upload", *(str(tmp_path / name) for name in names), "--recipe", "as-is")
        with Command((*words, "--json", "--progress", "json"), given) as command:
            code, printed = command.finish(_PATIENCE_S)
        told = [json.loads(line) for line in printed.splitlines()]
        error, summary = (json.loads(line) for line in command.complaints[-2:])
        with Command((*words, str(tmp_path / "b.wav"), "--limit-rate", "1GB/s"), given) as command:
            again, ids = command.finish(_PATIENCE_S)
        assert len(service.jobs()) == 3
    assert (code, again) == (1, 1)
    assert [receipt["source"].rpartition("/")[2] for receipt in told] == ["c.wav", "b.wav", "a.wav"]
    assert (error["error"], error["reason"], error["about"]) == ("RecordingError", "NotFound", words[3])
    assert summary["summary"] == {"done": 3, "failed": 1, "total": 4}
    assert ids.split() == [receipt["processing_id"] for receipt in told]


def test_interrupted_jobs_are_resumed_at_once_and_told_in_their_order(tmp_path: Path) -> None:
    """Three deliveries, killed on their way: none waits for the one before it, and each arrives whole."""
    wanted = fill(tmp_path, 3, 500_000)
    with Service(tmp_path / "service") as service:
        given = environment(tmp_path / "state", f"http://127.0.0.1:{service.port}/v1")
        to = f"http://127.0.0.1:{service.port}/v1/uploads"
        for path in sorted(tmp_path.glob("day-0/*.wav")):
            words = ("send", str(path), "--to", to, "--limit-rate", "500kB/s", "--progress", "json")
            with Command(words, given) as command:
                until = time.monotonic() + _PATIENCE_S
                while not command.of("uploaded") and time.monotonic() < until:
                    time.sleep(_GLANCE_S)
                assert command.kill() == -signal.SIGKILL
        with Command(("resume", "--json", "--progress", "json"), given) as command:
            code, printed = command.finish(_PATIENCE_S)
        done = next(place for place, event in enumerate(command.events) if event["event"] == "completed")
        assert len({event["job_id"] for event in command.events[:done] if event["event"] == "uploaded"}) == 3
        assert code == 0
        names = [json.loads(line)["source"].rpartition("/")[2] for line in printed.splitlines()]
        assert names == ["take-000.wav", "take-001.wav", "take-002.wav"]
        kept = (path for path in service.data.rglob("*") if path.is_file())
        assert wanted <= {hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_a_recording_that_is_named_twice_makes_one_job(tmp_path: Path) -> None:
    """By itself, with its folder, and through a link: two ways to it at once are one recording all the same."""
    folder = tmp_path / "recordings"
    fill(folder, 2, 3_000_000)
    (tmp_path / "link.wav").symlink_to(folder / "day-0" / "take-000.wav")
    with Service(tmp_path / "service") as service:
        given = environment(tmp_path / "state", f"http://127.0.0.1:{service.port}/v1")
        places = (folder / "day-0" / "take-000.wav", folder, tmp_path / "link.wav", folder / "day-0")
        with Command(("upload", *map(str, places), "--recipe", "as-is", "--json"), given) as command:
            code, printed = command.finish(_PATIENCE_S)
        ids = {json.loads(line)["processing_id"] for line in printed.splitlines()}
        assert (code, len(service.jobs()), ids) == (0, 2, set(service.jobs()))


def test_a_watch_takes_what_comes_until_it_is_interrupted(tmp_path: Path) -> None:
    """What is there, and what is dropped there; a second run takes only what it has not; the end is 130."""
    folder, state = tmp_path / "recorder", tmp_path / "state"
    fill(folder, 2, 50_000)
    with Service(tmp_path / "service") as service:
        given = environment(state, f"http://127.0.0.1:{service.port}/v1")
        words = ("watch", str(folder), "--settle", "0.3s", "--recipe", "as-is", "--json", "--progress", "json")
        with Command(words, given) as command:
            submitted(command, 2)
            (folder / "coming.part").write_bytes(random.Random(99).randbytes(70_000))
            (folder / "coming.part").rename(folder / "coming.wav")
            submitted(command, 3)
            command.process.send_signal(signal.SIGINT)
            code, printed = command.finish(_PATIENCE_S)
        with Command((*words, "--once"), given) as command:
            again = command.finish(_PATIENCE_S)
        assert (code, len(printed.splitlines()), len(service.jobs())) == (130, 3, 3)
        assert again == (0, "")


def submitted(command: Command, count: int) -> None:
    """Wait until so many recordings are at the service."""
    until = time.monotonic() + _PATIENCE_S
    while len(command.of("submitted")) < count:
        assert not command.ended, command.complaints
        assert time.monotonic() < until, command.events[-5:]
        time.sleep(_GLANCE_S)

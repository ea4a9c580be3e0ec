"""Recordings that are encoded while they are uploaded, with all that can go wrong between the two."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import preprocess
from engine.model import JobState
from engine.runtime.manifest import Manifest
from tests.faults.command import Command, environment
from tests.faults.encoding import readers_of, run, speak
from tests.faults.recording import sha256_of
from tests.faults.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.encoding import Verdict

MINUTES = 2.2  # three slices
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A service, a recording, and whatever is to stand in for ffmpeg."""

    service: Service
    recording: Path
    folder: Path

    def command(self, *words: str, ffmpeg: Path | None = None) -> Command:
        given = environment(self.folder / "state", f"http://127.0.0.1:{self.service.port}/v1")
        if ffmpeg is not None:
            given |= {"SPEECHSTREAM_FFMPEG": str(ffmpeg)}
        arguments = (*words, "--recipe", "standard", "--json", "--progress", "json")
        return Command((words[0], str(self.recording), *arguments[1:]), given)

    def ffmpeg(self, name: str, cases: str) -> Path:
        """An ffmpeg that is the real one but for some cases of its arguments, in the shell's words."""
        path = self.folder / name
        path.write_text(
            f'#!/bin/sh\nreal="{preprocess.find_ffmpeg().path}"; tally="{self.folder / "tally"}"; mkdir -p "$tally"\n'
            f'case " $* " in\n{cases}\nesac\nexec "$real" "$@"\n'
        )
        path.chmod(0o700)
        return path

    def only_arrival(self) -> Path:
        (arrived,) = self.service.recordings().values()
        return arrived


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The real service without its transcriber, and a recording of three slices."""
    speak(tmp_path / "talk.wav", MINUTES)
    with Service(tmp_path / "service") as service:
        yield Bench(service, tmp_path / "talk.wav", tmp_path)


def wait_until(condition: Callable[[], object], command: Command) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until or command.ended:
            raise TimeoutError(f"it never came to that: {command.events} {command.complaints}")
        time.sleep(0.01)


def has_sent(command: Command) -> Callable[[], bool]:
    return lambda: any(int(str(event["acked_bytes"])) > 0 for event in command.of("uploaded"))


def warnings_of(command: Command) -> str:
    return "\n".join(str(event["message"]) for event in command.of("warned"))


# A slice is encoded only after the first two have had time to be sent.
SLOW_THIRD = '*" pipe:0 "*) mktemp "$tally/XXXXXX" > /dev/null; [ "$(ls "$tally" | wc -l)" -lt 3 ] || sleep 3 ;;'
FAILING_THIRD = (
    '*" pipe:0 "*) mktemp "$tally/XXXXXX" > /dev/null\n'
    '[ "$(ls "$tally" | wc -l)" -lt 3 ] || { sleep 3; kill -SEGV $$; } ;;'
)
OTHER_BUILD = '*" -version "*) "$real" "$@" | sed "s/ffmpeg version [^ ]*/ffmpeg version 9.9.9/"; exit ;;'


def test_kills_change_nothing(tmp_path: Path) -> None:
    """Killed again and again while it prepares and uploads, it makes one job of the undisturbed bytes."""
    verdict: Verdict = run(tmp_path, minutes=MINUTES, kills=4, rate_bytes_s=80_000, seed=2, latest_s=1.6)

    assert verdict.complaints == []


def test_bytes_leave_before_all_are_made(bench: Bench) -> None:
    """The server has acknowledged the first slices while later ones are still to be encoded."""
    with bench.command("upload", ffmpeg=bench.ffmpeg("slow", SLOW_THIRD)) as command:
        wait_until(has_sent(command), command)
        assert not command.of("sealed")
        code, printed = command.finish()

    assert code == 0
    assert json.loads(printed)["processing_id"] in bench.service.jobs()
    with bench.command("prepare", "-o", str(bench.folder / "alone.ogg")) as alone:
        assert alone.finish()[0] == 0
    assert sha256_of(bench.only_arrival()) == sha256_of(bench.folder / "alone.ogg")


def test_original_goes_where_encoding_fails_halfway(bench: Bench) -> None:
    """ffmpeg crashes after bytes have left: they go from the server, the original is sent, and the user is told."""
    with bench.command("upload", ffmpeg=bench.ffmpeg("failing", FAILING_THIRD)) as command:
        wait_until(has_sent(command), command)
        code, _ = command.finish()

    assert code == 0
    assert "so the original is sent" in warnings_of(command)
    assert "DELETE /v1/uploads/{id} 204" in bench.service.log
    assert sha256_of(bench.only_arrival()) == sha256_of(bench.recording)


@pytest.mark.long
def test_original_is_not_sent_against_the_wish(bench: Bench) -> None:
    """With --no-fallback it fails, and what was encoded is gone on with by an ffmpeg that works."""
    with bench.command("upload", "--no-fallback", ffmpeg=bench.ffmpeg("failing", FAILING_THIRD)) as first:
        code, printed = first.finish()

    assert code == 2
    assert "crashed" in json.loads(printed)["message"] if printed else "crashed" in "".join(first.complaints)
    assert bench.service.jobs() == []
    with bench.command("upload") as second:
        assert second.finish()[0] == 0
    assert len(bench.service.jobs()) == 1


@pytest.mark.long
def test_another_ffmpeg_never_mixes_its_bytes_in(bench: Bench) -> None:
    """With another build of ffmpeg than before the kill, everything is made and sent again, in the same job."""
    with bench.command("upload", ffmpeg=bench.ffmpeg("slow", SLOW_THIRD)) as first:
        wait_until(has_sent(first), first)
        first.kill()
    with Manifest(bench.folder / "state") as manifest:
        (job,) = manifest.jobs()
        assert job.state is JobState.UPLOADING
        key = job.idempotency_key

    with bench.command("upload", ffmpeg=bench.ffmpeg("other", OTHER_BUILD)) as second:
        code, _ = second.finish()

    assert code == 0
    assert "made and sent again" in warnings_of(second)
    assert "DELETE /v1/uploads/{id} 204" in bench.service.log
    assert bench.only_arrival().stat().st_size > 0
    with Manifest(bench.folder / "state") as manifest:
        assert [job.idempotency_key for job in manifest.jobs()] == [key]


@pytest.mark.long
def test_recording_that_changes_while_it_is_encoded(bench: Bench) -> None:
    """What was sent of the old recording goes, and the new one arrives, in the same job."""
    with bench.command("upload", ffmpeg=bench.ffmpeg("slow", SLOW_THIRD)) as command:
        wait_until(has_sent(command), command)
        speak(bench.recording, MINUTES / 2)
        code, _ = command.finish()

    assert code == 0
    with bench.command("prepare", "-o", str(bench.folder / "alone.ogg")) as alone:
        assert alone.finish()[0] == 0
    assert sha256_of(bench.only_arrival()) == sha256_of(bench.folder / "alone.ogg")


@pytest.mark.long
def test_a_kill_while_encoding_changes_no_word(tmp_path: Path) -> None:
    """The transcript of a recording whose encoding was killed is that of the undisturbed one."""
    speak(tmp_path / "talk.wav", 0.5)
    with Service(tmp_path / "service", options=()) as service:
        texts = []
        for state, kill in (("calm", False), ("killed", True)):
            given = environment(tmp_path / state, f"http://127.0.0.1:{service.port}/v1")
            words = ("transcribe", str(tmp_path / "talk.wav"), "--recipe", "standard", "--progress", "json")
            if kill:
                with Command(words, given) as first:
                    wait_until(lambda: readers_of(tmp_path / "talk.wav"), first)
                    first.kill()
            with Command(words, given) as last:
                code, text = last.finish()
            assert code == 0
            texts.append(text)

    assert texts[0] == texts[1]
    assert len(texts[0].split()) > 20

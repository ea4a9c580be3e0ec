"""Real speech comes back as words, and nothing a recording holds stops the next one."""

import io
import os
import signal
import struct
import wave
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.devserver.processes import words_of

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FAST = ("--status-interval", "0", "--uploads-per-minute", "100")


def ended(service: "Service", job: str) -> dict[str, str | None]:
    """The status of a job that is no longer processing."""
    reply: dict[str, str | None] = {}

    def is_over() -> bool:
        reply.update(service.http.get("/v1/status", params={"processing_id": job}).json())
        return reply["status"] != "processing"

    service.wait_for(is_over)
    return reply


@pytest.fixture(scope="module")
def words() -> bytes:
    """The first seconds of the spoken recording."""
    with wave.open(str(FIXTURES / "spoken.wav")) as file:
        rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
        frames = file.readframes(3 * rate)
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return output.getvalue()


def upload(service: "Service", data: bytes) -> str:
    """A job made of these bytes."""
    reply = service.http.post("/v1/upload", files={"file": data})
    job: str = reply.json()["processing_id"]
    return job


def worker_of(service: "Service") -> psutil.Process:
    """The running transcriber process."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        children = psutil.Process(service.process.pid).children()
        found[:] = [child for child in children if "engine.devserver.worker" in words_of(child)]
        return bool(found)

    service.wait_for(is_there)
    return found[0]


def test_speech_becomes_its_words(start: Start) -> None:
    """A spoken video, uploaded as documented, comes back as what was said."""
    service = start(*FAST)
    reply = ended(service, upload(service, (FIXTURES / "spoken.mp4").read_bytes()))
    assert (reply["status"], reply["message"]) == ("completed", None)
    said = (FIXTURES / "spoken.txt").read_text().split()
    heard = (reply["transcription"] or "").split()
    assert SequenceMatcher(None, said, heard).ratio() > 0.9


def silent_wav(path: Path) -> bytes:
    """A second of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return path.read_bytes()


def test_each_recording_ends_with_what_can_be_said_of_it(start: Start, tmp_path: Path) -> None:
    """Noise, nothing, a picture and a playlist fail with a sentence; silence is a transcript without words."""
    service = start(*FAST)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    secret = tmp_path / "secret.wav"
    silence = silent_wav(secret)
    playlist = f"ffconcat version 1.0\nfile '{secret.name}'\n".encode()
    failing = [upload(service, data) for data in (b"", os.urandom(5000), png, playlist)]
    quiet = upload(service, silence)
    for job in failing:
        reply = ended(service, job)
        assert reply["status"] == "failed"
        assert reply["transcription"] is None
        assert reply["message"]
    assert ended(service, quiet) == {"status": "completed", "transcription": "", "message": None}


def test_an_unfinished_job_is_taken_up_after_a_kill(start: Start, words: bytes) -> None:
    """The worker dies with its server; the next server transcribes the job."""
    service = start(*FAST)
    job = upload(service, words)
    worker = worker_of(service)
    service.end(signal.SIGKILL)
    service.wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    again = start(*FAST)
    assert ended(again, job)["status"] == "completed"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_running_transcriber_does_not_delay_the_end(start: Start, words: bytes, how: signal.Signals) -> None:
    """The worker goes first."""
    service = start(*FAST)
    upload(service, words)
    worker = worker_of(service)
    assert service.end(how) == 0
    assert not worker.is_running()


def test_a_recording_that_crashes_the_transcriber_twice_fails(start: Start, words: bytes) -> None:
    """After one crash it is tried again, after two it is given up, and the next one is transcribed."""
    service = start(*FAST)
    job = upload(service, words)
    first = worker_of(service)
    first.kill()
    service.wait_for(lambda: worker_of(service).pid != first.pid)
    worker_of(service).kill()
    reply = ended(service, job)
    assert reply["status"] == "failed"
    assert "crashed" in (reply["message"] or "")
    assert ended(service, upload(service, b"not sound"))["status"] == "failed"


@pytest.mark.long
def test_two_servers_have_one_transcriber(start: Start, words: bytes) -> None:
    """Jobs of both are done by the one that holds the lock, and by the other once the first is gone."""
    one, two = start(*FAST), start(*FAST)
    job = upload(two, words)
    worker_of(one)
    assert not [c for c in psutil.Process(two.process.pid).children() if "worker" in " ".join(words_of(c))]
    one.end()
    assert ended(two, job)["status"] == "completed"


def test_requests_are_answered_while_a_recording_is_transcribed(start: Start, words: bytes, noise: bytes) -> None:
    """A long job blocks nobody."""
    service = start(*FAST)
    upload(service, words)
    worker = worker_of(service)
    assert service.offset(service.finished(noise)) == len(noise)
    assert worker.is_running()

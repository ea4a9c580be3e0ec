"""Recordings made to hurt whoever opens them: each ends as `failed` with a sentence, and the service lives."""

import io
import os
import socket
import struct
import subprocess
import sys
import time
import wave
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from engine.devserver import decode
from tests.devserver.processes import words_of

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]
ROOT = Path(__file__).resolve().parents[2]
SPOKEN = ROOT / "fixtures" / "spoken.wav"
FAST = ("--status-interval", "0", "--uploads-per-minute", "1000")


def upload(service: "Service", data: bytes) -> str:
    """A job made of these bytes."""
    job: str = service.http.post("/v1/upload", files={"file": data}).json()["processing_id"]
    return job


def status(service: "Service", job: str) -> dict[str, str | None]:
    """Where a job stands."""
    reply: dict[str, str | None] = service.http.get("/v1/status", params={"processing_id": job}).json()
    return reply


def ended(service: "Service", job: str) -> dict[str, str | None]:
    """The status of a job that is no longer processing."""
    for _ in range(3000):
        reply = status(service, job)
        if reply["status"] != "processing":
            return reply
        time.sleep(0.02)
    pytest.fail("it never ended")


def wav(seconds: float, *, rate: int = 8000) -> bytes:
    """Silence."""
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(int(2 * rate * seconds)))
    return output.getvalue()


def spoken(times: int) -> bytes:
    """The spoken recording, so many times over."""
    output = io.BytesIO()
    with wave.open(str(SPOKEN)) as source, wave.open(output, "wb") as file:
        frames = source.readframes(source.getnframes())
        file.setparams(source.getparams())
        for _ in range(times):
            file.writeframes(frames)
    return output.getvalue()


def box(kind: bytes, content: bytes, *, size: int | None = None) -> bytes:
    """A box of an MP4 file, which may lie about its size."""
    return struct.pack(">I", len(content) + 8 if size is None else size) + kind + content


def compressed_index() -> bytes:
    """A QuickTime file whose compressed index claims to become 3.9 GiB (`cmov`)."""
    packed = struct.pack(">I", 0xF9FF_FFFF) + zlib.compress(bytes(16 << 20), 9)
    index = box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", packed))
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", index) + box(b"mdat", bytes(64))


def endless_table() -> bytes:
    """An MP4 file whose table of sample sizes claims four billion entries."""
    table = box(b"stsz", struct.pack(">III", 0, 0, 0xFFFF_FFF0), size=0xFFFF_FF00)
    media = box(b"mdia", box(b"minf", box(b"stbl", table)))
    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", box(b"trak", media), size=0x7FFF_FFFF)


def nested_boxes() -> bytes:
    """An MP4 file of boxes in boxes in boxes."""
    content = b""
    for _ in range(20_000):
        content = box(b"moov", content)
    return box(b"ftyp", b"isom\0\0\0\0isom") + content


def inflating_tag() -> bytes:
    """An MP3 file whose tag holds a compressed frame of zeros."""
    frame_data = b"\x0f\x7f\x7f\x7f" + zlib.compress(bytes(200 << 20), 9)
    size = len(frame_data)
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"TXXX" + synchsafe + b"\x00\x09" + frame_data
    total = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + total + frame + bytes(100_000)


def endless_element() -> bytes:
    """A Matroska file whose first element claims all that 8 bytes can say."""
    return b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska" + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xfe" * 10_000


def absurd_wav(channels: int, rate: int, width: int) -> bytes:
    """A WAV file with a format that no microphone has."""
    form = struct.pack("<HHIIHH", 1, channels, rate, 0xFFFF_FFFF, 0xFFFF, width)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(form)) + form + b"data\xff\xff\xff\xff" + bytes(4096)


BOMBS: dict[str, Callable[[], bytes]] = {
    "compressed index": compressed_index,
    "endless table": endless_table,
    "nested boxes": nested_boxes,
    "inflating tag": inflating_tag,
    "endless element": endless_element,
    "65535 channels": lambda: absurd_wav(65_535, 48_000, 16),
    "4 GHz": lambda: absurd_wav(1, 0xFFFF_FFFF, 16),
    "no width": lambda: absurd_wav(2, 48_000, 0),
    "zip": lambda: b"PK\x03\x04" + os.urandom(100_000),
    "playlist": lambda: b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concatenation": lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
    "script": lambda: b"#!/bin/sh\nrm -rf /\n" * 100,
}


@pytest.mark.long
def test_a_bomb_ends_as_failed(start: Start) -> None:
    """With a sentence, little memory, and nothing left running; the next recording is transcribed."""
    service = start(*FAST)
    process = psutil.Process(service.process.pid)
    assert ended(service, upload(service, wav(0.5)))["status"] == "completed"
    before = process.memory_info().rss
    jobs = {name: upload(service, make()) for name, make in BOMBS.items()}
    for name, job in jobs.items():
        reply = ended(service, job)
        assert reply["status"] == "failed", name
        assert reply["transcription"] is None
        assert (reply["message"] or "").isprintable()
        assert reply["message"]
    assert ended(service, upload(service, wav(0.5)))["status"] == "completed"
    service.wait_for(lambda: not process.children(recursive=True))
    assert process.memory_info().rss < before + (100 << 20)


@pytest.mark.long
def test_a_recording_that_takes_too_long_fails(start: Start) -> None:
    """Worker and decoder are ended after their time, the message says so, and the next one has its turn."""
    service = start(*FAST, "--transcription-limit", "8")
    long = upload(service, spoken(600))
    short = upload(service, wav(0.5))
    reply = ended(service, long)
    assert reply["status"] == "failed"
    assert "longer than the 8 s" in (reply["message"] or "")
    assert ended(service, short)["status"] == "completed"
    service.wait_for(lambda: not psutil.Process(service.process.pid).children(recursive=True))


def test_hours_of_nothing_in_a_few_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A recording longer than is transcribed fails as such, instead of being cut in silence."""
    monkeypatch.setattr(decode, "LONGEST_S", 2)
    recording = tmp_path / "long.wav"
    recording.write_bytes(wav(30))
    heard: list[int] = []
    with decode.decoded(recording) as pcm, pytest.raises(decode.DecodeError, match="longer than"):
        heard.extend(len(piece) for piece in pcm)
    assert sum(heard) <= 2 * 16_000 * 2


def decoders_of(worker: psutil.Process) -> list[psutil.Process]:
    """What decodes for it; not the `ffmpeg -version` by which the packaged program may be found first."""
    return [child for child in worker.children() if "pipe:1" in words_of(child)]


def held_still(service: "Service") -> tuple[psutil.Process, psutil.Process]:
    """The running transcriber process and its decoder, both stopped, so that neither ends while it is looked at."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        for worker in psutil.Process(service.process.pid).children():
            if "engine.devserver.worker" not in words_of(worker):
                continue
            worker.suspend()
            for decoder in decoders_of(worker):
                decoder.suspend()
                if decoder.status() == psutil.STATUS_STOPPED:
                    found[:] = worker, decoder
                    return True
            worker.resume()
        return False

    service.wait_for(is_there)
    worker, decoder = found
    return worker, decoder


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
def test_a_decoder_sees_and_can_do_little(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can grow, no variable of the server's is there, memory is bounded, and the kernel takes it first."""
    monkeypatch.setenv("SPEECHSTREAM_API_KEY", "a-key-of-the-operator")
    monkeypatch.setenv("FFREPORT", "file=/tmp/report")
    service = start(*FAST)
    upload(service, spoken(150))  # long enough to be looked at
    for process in held_still(service):
        proc = Path("/proc") / str(process.pid)
        environment = (proc / "environ").read_bytes()
        assert b"SPEECHSTREAM" not in environment
        assert b"FFREPORT" not in environment
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_AS)[1] == 4 << 30
        assert (proc / "oom_score_adj").read_text().strip() == "1000"
        assert "NoNewPrivs:\t1" in (proc / "status").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_a_decoder_has_no_network() -> None:
    """Not even this machine's loopback is in its reach, where the system lets a process give that up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = (
            "import socket, sys; from engine.devserver.confine import leave_network\n"
            "if not leave_network(): sys.exit(77)\n"
            f"try: socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 5)\n"
            "except OSError: sys.exit(0)\n"
            "sys.exit(1)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=30)
    if done.returncode == 77:
        pytest.skip("this system lets no process leave its network")
    assert done.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_a_decoder_dies_with_its_worker(tmp_path: Path) -> None:
    """A worker that is killed leaves no ffmpeg behind, also none that waits and would never notice."""
    waits = tmp_path / "nobody-writes-here"
    os.mkfifo(waits)
    code = (
        "import sys; from pathlib import Path; from engine.devserver.decode import decoded\n"
        "with decoded(Path(sys.argv[1])) as pcm: next(pcm)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(waits)], cwd=ROOT) as process:
        worker = psutil.Process(process.pid)
        while not (decoders := decoders_of(worker)):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    (decoder,) = decoders
    try:
        decoder.wait(10)
    finally:
        if decoder.is_running():
            decoder.kill()

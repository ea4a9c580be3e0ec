"""Whatever cannot be a recording is refused, in a sentence that names it and says why."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio
import pytest

from preprocess import (
    Empty,
    Encrypted,
    NoAudio,
    NotFound,
    NotMedia,
    NotRegular,
    RecordingError,
    ToolCrashed,
    ToolHung,
    Truncated,
    Unreadable,
    Unsupported,
    probe,
    probing,
)

pytestmark = pytest.mark.anyio
Record = Callable[..., Path]
NOISE = Random(4).randbytes(200_000)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "kind", "reason"),
    [
        ("empty.wav", b"", Empty, "is empty"),
        ("text.mp4", b"dear diary\n" * 500, NotMedia, "not an audio or video file"),
        ("noise.mp4", NOISE, NotMedia, "not an audio or video file"),
        ("noise.wav", NOISE, NotMedia, "not an audio or video file"),
        ("zeros.mp4", bytes(100_000), Truncated, "begins with zeros"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/a.ts\n", NotMedia, "a playlist"),
        ("script.mp4", b"ffconcat version 1.0\nfile secret.wav\n", NotMedia, "a playlist"),
        ("dash.mp4", b'<?xml version="1.0"?>\n<MPD xmlns="x"/>', NotMedia, "a playlist"),
        ("login.mp3", b"<!DOCTYPE html><html>Sign in</html>", NotMedia, "a web page"),
        ("paper.mp3", b"%PDF-1.7 ...", NotMedia, "a PDF"),
        ("all.mp3", b"PK\x03\x04....", NotMedia, "an archive"),
    ],
)
async def test_other_content(
    tmp_path: Path, name: str, content: bytes, kind: type[RecordingError], reason: str
) -> None:
    """Bytes that are no recording are refused whatever the file is called."""
    with pytest.raises(kind, match=reason) as refusal:
        await probe(write(tmp_path / name, content))

    assert name in str(refusal.value)
    assert refusal.value.hint
    assert refusal.value.hint not in str(refusal.value)


async def test_noise_that_opens(tmp_path: Path) -> None:
    """Noise named .mp3 opens in libav as a stream without rate or channels; it is refused all the same."""
    with pytest.raises((Unsupported, NotMedia)):
        await probe(write(tmp_path / "noise.mp3", NOISE))


async def test_nothing_there(tmp_path: Path) -> None:
    """A missing file is named with its folder."""
    with pytest.raises(NotFound, match=r"gone\.wav"):
        await probe(tmp_path / "gone.wav")


async def test_folder_in_the_middle_is_a_file(tmp_path: Path) -> None:
    """A path through a file leads to nothing."""
    with pytest.raises(NotFound):
        await probe(write(tmp_path / "file", b"x") / "a.wav")


async def test_dangling_link(tmp_path: Path) -> None:
    """A link that leads nowhere says where it was meant to lead."""
    (tmp_path / "link.wav").symlink_to("/nowhere/at/all.wav")

    with pytest.raises(NotFound, match=r"/nowhere/at/all\.wav"):
        await probe(tmp_path / "link.wav")


async def test_address() -> None:
    """An address is not a file, and nothing is fetched."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(NotFound, match="an address"):
            await probe(f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4")
        with pytest.raises(TimeoutError):
            server.accept()


async def test_directory(tmp_path: Path) -> None:
    """A directory is not a recording."""
    with pytest.raises(NotRegular, match="a directory"):
        await probe(tmp_path)


async def test_pipe_does_not_block(tmp_path: Path) -> None:
    """A named pipe without a writer is refused at once."""
    os.mkfifo(tmp_path / "pipe.wav")

    with anyio.fail_after(10), pytest.raises(NotRegular, match="a named pipe"):
        await probe(tmp_path / "pipe.wav")


async def test_endless_device() -> None:
    """A device that never ends is refused."""
    with pytest.raises(NotRegular, match="a device"):
        await probe("/dev/zero")


async def test_socket(tmp_path: Path) -> None:
    """A socket is not a recording."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(NotRegular, match="a socket"):
            await probe(tmp_path / "s")


async def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file we may not open is refused with the system's words."""
    locked = write(tmp_path / "locked.wav", b"RIFF")
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        # The superuser may read everything: let the system call refuse in its place.
        def refuse(*_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("preprocess.source.os.open", refuse)

    with pytest.raises(Unreadable, match=r"locked.wav.*Permission denied"):
        await probe(locked)


async def test_picture(record: Record) -> None:
    """A picture is called a picture."""
    with pytest.raises(NotMedia, match="a picture"):
        await probe(record("still.png", "-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1"))


async def test_video_without_sound(record: Record) -> None:
    """A video without an audio track has nothing to transcribe."""
    silent = record("mute.mp4", "-f", "lavfi", "-i", "testsrc=s=64x48:d=1:r=5")

    with pytest.raises(NoAudio, match=r"mute\.mp4"):
        await probe(silent)


async def test_index_never_written(tmp_path: Path, tone: Record) -> None:
    """An MP4 cut before the index at its end was not finalised, and the message says so."""
    whole = tone("plain.m4a").read_bytes()

    with pytest.raises(Truncated, match="not finalised or the copy is incomplete"):
        await probe(write(tmp_path / "cut.m4a", whole[: len(whole) // 2]))


async def test_drm(record: Record) -> None:
    """A recording under common encryption is refused as such, not as damaged."""
    key = ("-encryption_key", "0123456789abcdef0123456789abcdef", "-encryption_kid", "0" * 32)
    locked = record(
        "locked.m4a", "-f", "lavfi", "-i", "sine=d=2", "-c:a", "aac", "-encryption_scheme", "cenc-aes-ctr", *key
    )

    with pytest.raises(Encrypted, match="DRM"):
        await probe(locked)


async def test_no_decoder(tmp_path: Path, tone: Record) -> None:
    """A track in a codec nobody knows is found by the trial decode, whatever the header promises."""
    content = tone("flac.mka", "-c:a", "flac").read_bytes()
    assert content.count(b"A_FLAC") == 1

    with pytest.raises(Unsupported, match="nothing in it can be decoded"):
        await probe(write(tmp_path / "odd.mka", content.replace(b"A_FLAC", b"A_ODDC")))


async def test_script_gets_no_sibling(tmp_path: Path, tone: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even past the first look, a concat script named .mp4 cannot make libav read the file beside it."""
    write(tmp_path / "secret.wav", tone("secret.wav").read_bytes())
    write(tmp_path / "script.mp4", b"ffconcat version 1.0\nfile secret.wav\n")
    monkeypatch.setattr("preprocess.source._SIGNATURES", ())

    with pytest.raises(NotMedia):
        await probe(tmp_path / "script.mp4")


async def test_child_that_hangs(tone: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that never answers is killed after its time, and leaves no process."""
    script = write(tmp_path / "child.py", b"import time\ntime.sleep(3600)\n")
    monkeypatch.setattr(probing, "_CHILD", script)

    with pytest.raises(ToolHung, match=r"0\.5 s"):
        await probe(tone("a.wav"), timeout_s=0.5)


async def test_child_that_crashes(tone: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash inside libav is an error of ours to catch, not the end of the program."""
    script = write(tmp_path / "child.py", b"import os\nos.abort()\n")
    monkeypatch.setattr(probing, "_CHILD", script)

    with pytest.raises(ToolCrashed, match=r"a\.wav.*-6"):
        await probe(tone("a.wav"))


async def test_box_that_claims_everything(tmp_path: Path) -> None:
    """Absurd box sizes end the walk; they neither loop nor fill memory."""
    boxes = struct.pack(">I4sI4s", 16, b"ftyp", 0, b"isom") + struct.pack(">I4sQ", 1, b"moov", 2**63)

    with pytest.raises(RecordingError):
        await probe(write(tmp_path / "huge.mp4", boxes * 3 + bytes(64)))

"""What a program that reads media cannot do, whatever the media makes of it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from preprocess import Ffmpeg, ToolHung, decide, is_isolated, preparation, prepare, probe
from preprocess.child import Answer, Limits, ask

pytestmark = pytest.mark.anyio
Record = Callable[..., Path]


async def told_by(program: str, *, memory_bytes: int = 2 << 30, cpu_s: int = 10) -> Answer:
    """What a Python program answers that runs as ffmpeg does."""
    command = [sys.executable, "-I", "-S", "-c", program]
    return await ask(command, Limits(cpu_s, memory_bytes=memory_bytes), timeout_s=30)


async def test_it_reaches_no_network() -> None:
    """Not even a port of this machine answers."""
    if not await is_isolated():
        pytest.skip("this kernel lets nobody leave the network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        address = server.getsockname()
        answer = await told_by(f"import socket; socket.create_connection({address!r}, timeout=5)")

        with pytest.raises(BlockingIOError):
            server.accept()
    assert answer.status == 1
    assert "unreachable" in answer.last_words[-1]


async def test_whether_it_reaches_a_network_is_not_guessed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A leash that cannot take the network away is found out."""
    leash = Path("preprocess/leash.py")
    tame = (Path(__file__).parents[2] / leash).read_text().replace("        _leave_network(libc)\n", "")
    (tmp_path / "leash.py").write_text(tame)
    monkeypatch.setattr("preprocess.child._LEASH", tmp_path / "leash.py")

    assert not await is_isolated()


async def test_it_writes_no_file(tmp_path: Path) -> None:
    """A file it opens stays empty: the first byte kills it, or is refused."""
    target = tmp_path / "stolen"

    answer = await told_by(f"import os; os.write(os.open({str(target)!r}, os.O_WRONLY | os.O_CREAT), b'x')")

    assert answer.status != 0
    assert not target.exists() or target.read_bytes() == b""


async def test_it_sees_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment it gets what a program needs to start."""
    monkeypatch.setenv("SPEECHSTREAM_API_KEY", "sk-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    answer = await told_by("import os; print(sorted(os.environ), os.environ.get('PATH'))")

    assert b"KEY" not in answer.output
    assert os.fsencode(os.environ["PATH"]) in answer.output


async def test_it_inherits_nothing_that_is_open(tmp_path: Path) -> None:
    """Whatever is open here, the manifest among it, is not open there."""
    with (tmp_path / "manifest").open("w") as manifest:
        os.set_inheritable(manifest.fileno(), True)  # noqa: FBT003 - its only way
        answer = await told_by("import os; print([os.path.realpath(f'/proc/self/fd/{n}') for n in range(3, 64)])")

    assert str(tmp_path).encode() not in answer.output


@pytest.mark.parametrize(
    ("program", "limits"),
    [
        ("while True: pass", Limits(cpu_s=1)),
        ("x = bytearray(1 << 30)", Limits(cpu_s=10, memory_bytes=1 << 29)),
        ("import os; [os.dup(0) for _ in range(100)]", Limits(cpu_s=10)),
    ],
)
async def test_it_gets_only_so_much(program: str, limits: Limits) -> None:
    """Processor time, memory and files have an end."""
    command = [sys.executable, "-I", "-S", "-c", program]

    assert (await ask(command, limits, timeout_s=60)).status != 0


@pytest.mark.skipif(sys.platform != "linux", reason="a promise that only Linux gives")
async def test_it_gains_no_rights() -> None:
    """A program of root's that it starts is no root's."""
    answer = await told_by("print([line for line in open('/proc/self/status') if line.startswith('NoNewPrivs')])")

    assert b"NoNewPrivs:\\t1" in answer.output


@pytest.mark.skipif(sys.platform != "linux", reason="a way to share processors that only Linux has")
async def test_it_lets_others_go_first() -> None:
    """It interrupts nobody by waking up, and so spends less time on handing packets on within itself."""
    answer = await told_by("import os; print(os.sched_getscheduler(0) == os.SCHED_BATCH)")

    assert answer.output == b"True\n"


async def test_its_time_ends(
    tone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ffmpeg: Ffmpeg
) -> None:
    """A file on which ffmpeg moves for ever is given up after a time that its length allows."""
    info = await probe(tone("a.wav"))
    endless = tmp_path / "ffmpeg"
    endless.write_text("#!/bin/sh\nwhile echo xxxxxxxx; do sleep 0.02; done\n")
    endless.chmod(0o755)
    monkeypatch.setattr("preprocess.run._TICK_S", 0.05)
    monkeypatch.setattr(preparation, "_LEAST_WALL_S", 0.5)
    monkeypatch.setattr(preparation, "_WALL_PER_S", 0.3)

    with pytest.raises(ToolHung, match=r"not done after 0\.9 s"):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=Ffmpeg(str(endless), "0"))


async def test_time_that_we_take_is_not_counted(
    tone: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ffmpeg: Ffmpeg
) -> None:
    """A slow upload that holds the encoder up does not use up its time."""
    from preprocess.run import FfmpegRun

    monkeypatch.setattr("preprocess.run._TICK_S", 0.02)
    source = str(tone("a.wav"))
    taken = 0

    async def take(chunk: bytes) -> None:
        nonlocal taken
        taken += len(chunk)
        await anyio.sleep(0.6)

    command = [ffmpeg.path, "-nostdin", "-v", "error", "-i", source, "-f", "s16le", "pipe:1"]
    answer = await FfmpegRun(lambda: None).run(lambda _: command, Limits(9, wall_s=2.0), take)

    assert answer.status == 0
    assert taken == 3 * 44100 * 2

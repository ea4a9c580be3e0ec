"""Whatever happens to a preparation, nothing is left running and the next one comes out the same."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import anyio
import anyio.to_thread
import psutil
import pytest

from preprocess import (
    Artifact,
    Ffmpeg,
    MediaInfo,
    NoSpace,
    OutputDenied,
    PreprocessError,
    Progress,
    ToolCrashed,
    ToolHung,
    ToolKilled,
    ToolMissing,
    Unreadable,
    Unsupported,
    decide,
    identity,
    prepare,
    probe,
)
from preprocess.journal import Making
from preprocess.spool import Spool

pytestmark = pytest.mark.anyio
Record = Callable[..., Path]
Prepare = Callable[..., Awaitable[Artifact]]
Impostor = Callable[[str], Ffmpeg]

PREPARE = """
import resource, sys
from functools import partial
from pathlib import Path
import anyio
from preprocess import PreprocessError, decide, find_ffmpeg, prepare, probe, slices

slices.FIRST_S = 30

async def main(recording, into, limit):
    info = await probe(recording)
    find_ffmpeg()
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    print("ready", flush=True)
    try:
        await prepare(info, decide(info, "standard"), Path(into), ffmpeg=find_ffmpeg())
    except PreprocessError as error:
        print(type(error).__name__, error)

anyio.run(main, *sys.argv[1:])
"""


@pytest.fixture(scope="module", autouse=True)
def _short_slices() -> Iterator[None]:
    """Slices half as long as ours, here and in `PREPARE`: they are as many, and cost half."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preprocess.slices.FIRST_S", 30)
        yield


@pytest.fixture(scope="session")
def long_recording(record: Record) -> Path:
    """Noise of four slices that keeps ffmpeg busy for a while, so there is a middle to be disturbed in."""
    return record("long.wav", "-f", "lavfi", "-i", "anoisesrc=r=16000:d=105:a=0.3:seed=7")


@pytest.fixture
def impostor(tmp_path: Path) -> Impostor:
    """Something that is started as ffmpeg and does what the given shell script says."""

    def make(script: str) -> Ffmpeg:
        path = tmp_path / "ffmpeg"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return Ffmpeg(str(path), "0", "impostor")

    return make


@pytest.fixture(scope="module")
def info(tone: Record) -> MediaInfo:
    return anyio.run(probe, tone("a.wav"))


_not_ours: set[int] = set()


@pytest.fixture(autouse=True)
def _know_whose_children() -> None:
    """Other tests of the same worker may have left servers running; they are none of ours."""
    _not_ours.clear()
    _not_ours.update(child.pid for child in psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in _not_ours]


def leftovers(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.iterdir())


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")


def start(root: Path, recording: Path, spool: Path, limit: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPARE, str(recording), str(spool), limit]
    environment = os.environ | {"PYTHONPATH": str(root)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_kill_in_the_middle(
    pytestconfig: pytest.Config, long_recording: Path, tmp_path: Path, prepared: Prepare
) -> None:
    """After kill -9 in the middle no ffmpeg lives on, and the next run makes the undisturbed bytes."""
    undisturbed = anyio.run(prepared, long_recording, "standard", tmp_path / "undisturbed")
    partial = tmp_path / "spool" / "artifact.partial"
    with start(pytestconfig.rootpath, long_recording, tmp_path / "spool") as process:
        wait_until(lambda: partial.exists() and partial.stat().st_size > 50_000)
        offspring = psutil.Process(process.pid).children(recursive=True)
        assert offspring
        process.kill()

    wait_until(lambda: not any(child.is_running() for child in offspring))
    assert partial.read_bytes() == undisturbed.path.read_bytes()[: partial.stat().st_size]

    again = anyio.run(prepared, long_recording, "standard", tmp_path / "spool")

    assert again.path.read_bytes() == undisturbed.path.read_bytes()
    assert leftovers(tmp_path / "spool") == ["artifact.json", "artifact.ogg"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent's life")
def test_leash_holds_a_child_that_never_writes(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Even a child that would never notice a closed pipe dies with its parent."""
    program = (
        "import anyio\n"
        "from preprocess.child import Limits, ask\n"
        "anyio.run(lambda: ask(['/bin/sleep', '1000'], Limits(cpu_s=9), timeout_s=900))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(pytestconfig.rootpath)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
        parent = psutil.Process(process.pid)
        wait_until(lambda: any("sleep" in child.name() for child in parent.children()))
        (sleeper,) = parent.children()
        process.kill()

    wait_until(lambda: not sleeper.is_running())


async def test_cancel_kills_the_group(long_recording: Path, tmp_path: Path, prepared: Prepare) -> None:
    """Cancelling ends ffmpeg at once, and the next run goes on."""
    seen: list[psutil.Process] = []
    with anyio.CancelScope() as scope:

        def cancel(progress: Progress) -> None:
            if progress.bytes_written > 0:
                seen.extend(children())
                scope.cancel()

        await prepared(long_recording, report=cancel)

    assert scope.cancelled_caught
    assert seen
    assert not any(child.is_running() for child in seen)
    assert {"artifact.journal", "artifact.partial"} <= set(leftovers(tmp_path / "spool"))

    assert (await prepared(long_recording)).duration_s == pytest.approx(105)


async def test_group_dies_with_its_leader(impostor: Impostor, info: MediaInfo, tmp_path: Path) -> None:
    """What ffmpeg itself started dies with it."""
    tool = impostor("sleep 1000 & sleep 1000")
    family: list[psutil.Process] = []
    async with anyio.create_task_group() as tasks:

        async def see_them_start() -> None:
            await anyio.to_thread.run_sync(wait_until, lambda: [c.name() for c in children()].count("sleep") == 2)
            family.extend(children())
            tasks.cancel_scope.cancel()

        tasks.start_soon(see_them_start)
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=tool)

    wait_until(lambda: not any(member.is_running() and member.status() != "zombie" for member in family))


async def test_hung_tool(
    impostor: Impostor, info: MediaInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Prepare
) -> None:
    """An ffmpeg that neither works nor ends is stopped; with a healthy one the same folder works."""
    monkeypatch.setattr("preprocess.run.HANG_S", 0.3)
    monkeypatch.setattr("preprocess.run._TICK_S", 0.05)

    with pytest.raises(ToolHung, match="made no progress"):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=impostor("exec sleep 1000"))

    assert children() == []
    assert leftovers(tmp_path / "spool") == []
    monkeypatch.setattr("preprocess.run.HANG_S", 60.0)
    assert (await prepared(info.path)).size_bytes


async def test_slow_but_working_tool_is_left_alone(
    impostor: Impostor, info: MediaInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress without output, as while a long gap is read, is not a hang."""
    monkeypatch.setattr("preprocess.run.HANG_S", 0.5)
    monkeypatch.setattr("preprocess.run._TICK_S", 0.05)
    report = 'while [ "$1" != -progress ]; do shift; done; fd=/dev/fd/${2#pipe:}\n'
    work = "for n in 1 2 3 4 5 6; do printf 'out_time_us=%s000000\\nprogress=continue\\n' $n > $fd; sleep 0.2; done\n"
    tool = impostor(report + work + "echo 'Invalid data found' >&2; exit 1\n")

    with pytest.raises(Unsupported):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=tool)


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        ("exit 0", ToolCrashed, "stopped before the end"),
        ("kill -SEGV $$", ToolCrashed, "SIGSEGV"),
        ("kill -ABRT $$", ToolCrashed, "SIGABRT"),
        ("kill -KILL $$", ToolKilled, "SIGKILL"),
        ("kill -XCPU $$", ToolKilled, "SIGXCPU"),
        ("echo '[error] Unknown encoder '\"'libopus'\" >&2; exit 8", ToolMissing, "lacks an encoder"),
        ("echo '[error] Cannot allocate memory' >&2; exit 244", ToolKilled, "out of memory"),
        ("echo '[error] Input/output error' >&2; exit 251", Unreadable, "its disk fails"),
        ("echo '[error] moov atom not found' >&2; echo '[error] sorry' >&2; exit 1", PreprocessError, "its index"),
        ("echo '[info] title: Permission denied' >&2; exit 3", ToolCrashed, "status 3 .it said nothing"),
        ("echo '[error] something new' >&2; exit 42", ToolCrashed, "status 42 .*something new"),
    ],
)
async def test_failing_tool(
    impostor: Impostor, info: MediaInfo, tmp_path: Path, script: str, kind: type[PreprocessError], reason: str
) -> None:
    """Each way to fail has its own words, and none leaves a partial file."""
    with pytest.raises(kind, match=reason) as failure:
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=impostor(script))

    assert failure.value.hint
    assert leftovers(tmp_path / "spool") == []


async def test_tool_that_is_gone(info: MediaInfo, tmp_path: Path) -> None:
    """An ffmpeg that was uninstalled meanwhile is reported as missing."""
    with pytest.raises(ToolMissing, match="cannot be started"):
        await prepare(info, decide(info, "standard"), tmp_path / "s", ffmpeg=Ffmpeg("/nowhere/ffmpeg", "0"))


async def test_lost_tail_is_noticed(impostor: Impostor, info: MediaInfo, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Output shorter than what ffmpeg says it wrote is not accepted, although the status is 0."""
    tool = impostor(f'"{ffmpeg.path}" "$@" | head -c 5000\nexit 0\n')

    with pytest.raises(ToolCrashed):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=tool)


async def test_terminated_tool_is_no_success(long_recording: Path, tmp_path: Path, prepared: Prepare) -> None:
    """ffmpeg closes its file neatly when told to stop; that short file is not taken for the whole."""

    def terminate(progress: Progress) -> None:
        if progress.bytes_written > 0:
            for child in children():
                child.send_signal(signal.SIGTERM)

    with pytest.raises(ToolKilled, match=r"told to stop|SIGTERM"):
        await prepared(long_recording, report=terminate)

    assert not (tmp_path / "spool" / "artifact.ogg").exists()
    assert (await prepared(long_recording)).duration_s == pytest.approx(105)


def test_disk_full_for_real(
    pytestconfig: pytest.Config, long_recording: Path, tmp_path: Path, prepared: Prepare
) -> None:
    """When the file cannot grow there is one clear error and nothing left; with room it works."""
    with start(pytestconfig.rootpath, long_recording, tmp_path / "spool", limit="50000") as process:
        said, _ = process.communicate(timeout=60)

    assert said.startswith("NoSpace The disk of")
    assert process.returncode == 0
    assert leftovers(tmp_path / "spool") == []
    assert anyio.run(prepared, long_recording).size_bytes > 50_000


@pytest.mark.parametrize(
    ("call", "number", "kind"),
    [
        ("open", errno.ENOSPC, NoSpace),
        ("open", errno.EROFS, OutputDenied),
        ("pwrite", errno.ENOSPC, NoSpace),
        ("pwrite", errno.EDQUOT, NoSpace),
        ("fsync", errno.ENOSPC, NoSpace),
        ("fsync", errno.EIO, OutputDenied),
    ],
)
async def test_disk_refuses(
    info: MediaInfo,
    tmp_path: Path,
    ffmpeg: Ffmpeg,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[PreprocessError],
) -> None:
    """A full, over-quota or read-only disk is told apart, whichever call brings it to light."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    decision = decide(info, "standard")
    with monkeypatch.context() as patch:
        for module in ("spool", "partial"):
            patch.setattr(f"preprocess.{module}.os", SimpleNamespace(**{**vars(os), call: refuse}))
        with pytest.raises(kind):
            await prepare(info, decision, tmp_path / "spool", ffmpeg=ffmpeg)

    assert leftovers(tmp_path / "spool") == []
    assert (await prepare(info, decision, tmp_path / "spool", ffmpeg=ffmpeg)).size_bytes


async def test_too_little_room_is_seen_before(
    info: MediaInfo, tmp_path: Path, impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for the estimate nothing is started."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    tool = impostor(f"touch {tmp_path / 'started'}")

    with pytest.raises(NoSpace, match=r"64 MB in .* where 1 MB are free"):
        await prepare(info, decide(info, "standard"), tmp_path / "spool", ffmpeg=tool)

    assert leftovers(tmp_path) == ["ffmpeg", "spool"]


async def test_folder_that_cannot_be(info: MediaInfo, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """A file where the folder should be is an error that names it."""
    (tmp_path / "taken").touch()

    with pytest.raises(OutputDenied, match="taken"):
        await prepare(info, decide(info, "standard"), tmp_path / "taken", ffmpeg=ffmpeg)


async def test_two_at_once(info: MediaInfo, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """A second preparation into the same folder is refused and does the first no harm; later it may."""
    spool = Spool(tmp_path / "spool")
    spool.create()
    with spool.partial(Making(identity(info.path), "standard", (), ("", ""))) as first:
        first.append(b"half done")
        with pytest.raises(OutputDenied, match="Another process"):
            await prepare(info, decide(info, "standard"), spool.into, ffmpeg=ffmpeg)

        assert first.path.read_bytes() == b"half done"

    assert (await prepare(info, decide(info, "standard"), spool.into, ffmpeg=ffmpeg)).size_bytes

"""Gives jobs their transcripts: one worker process at a time, in one server process at a time."""

import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import Process

from .folder import Folder
from .jobs import Jobs
from .store import Job

log = logging.getLogger("speechstream.transcribe")

_LOOK_EVERY_S = 2.0  # for jobs and locks of other server processes; own jobs are announced
_CRASHES_MAX = 2
_TEXT_BYTES_MAX = 16 << 20  # a day of fast speech is one
# Whatever else the server's environment holds is nothing that a decoder of strangers' media should see.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "IMAGEIO_FFMPEG_EXE", "LANG", "TMPDIR")
_ROOT = Path(__file__).resolve().parents[2]


async def transcribe_for_ever(folder: Folder, jobs: Jobs, limit_s: float) -> None:
    """Take jobs up, oldest first, whenever this process is the folder's transcriber; none takes longer than a limit."""
    with _lock_file(folder.transcriber_lock) as file:
        while not _try_lock(file):  # noqa: ASYNC110 - another process holds it; no event tells of its end
            await anyio.sleep(_LOOK_EVERY_S)
        while True:
            jobs.waiting = anyio.Event()
            job = await to_thread.run_sync(jobs.store.next_job)
            if job is not None:
                await _transcribe(job, jobs, limit_s)
                continue
            with anyio.move_on_after(_LOOK_EVERY_S):
                await jobs.waiting.wait()


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _transcribe(job: Job, jobs: Jobs, limit_s: float) -> None:
    reply = await _ask_worker(jobs.path(job.id), limit_s)
    if reply is None:
        crashes = await to_thread.run_sync(jobs.store.count_crash, job.id)
        log.warning("the transcriber crashed (%d of %d)", crashes, _CRASHES_MAX)
        if crashes < _CRASHES_MAX:
            return
        reply = {"message": "the transcriber crashed on this recording"}
    text, message = reply.get("text"), reply.get("message")

    def finish() -> None:
        jobs.store.finish_job(job.id, transcription=text, message=message)

    await to_thread.run_sync(finish)


async def _ask_worker(path: Path, limit_s: float) -> dict[str, str] | None:
    """Have a process of its own transcribe a recording; None when it crashes."""
    process = await anyio.open_process(
        [sys.executable, "-m", "engine.devserver.worker", str(path), str(os.getpid())],
        stderr=None,
        start_new_session=True,
        env={name: value for name in _ENVIRONMENT if (value := os.environ.get(name))} | {"PYTHONPATH": _python_path()},
    )
    try:
        with anyio.move_on_after(limit_s):
            output = await _read_all(process)
            return _reply(output) if await process.wait() == 0 else None
        return {"message": f"transcribing this recording took longer than the {limit_s:.0f} s it may take"}
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the decoder goes with it
            await process.aclose()


def _reply(output: bytes) -> dict[str, str] | None:
    if len(output) > _TEXT_BYTES_MAX:
        return {"message": "the transcript of this recording is too long"}
    try:
        reply: dict[str, str] = json.loads(output)
    except ValueError:
        return None
    return reply


async def _read_all(process: Process) -> bytes:
    output = bytearray()
    if process.stdout is not None:
        async for chunk in process.stdout:
            output += chunk
            if len(output) > _TEXT_BYTES_MAX:
                process.terminate()
                break
    return bytes(output)


def _python_path() -> str:
    """Where the worker finds this package, from whatever folder the server was started."""
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))

"""Gives jobs their transcripts: one worker process at a time, in one server process at a time."""

import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
_ROOT = Path(__file__).resolve().parents[2]


async def transcribe_for_ever(folder: Folder, jobs: Jobs) -> None:
    """Take jobs up, oldest first, whenever this process is the folder's transcriber."""
    with _lock_file(folder.transcriber_lock) as file:
        while not _try_lock(file):  # noqa: ASYNC110 - another process holds it; no event tells of its end
            await anyio.sleep(_LOOK_EVERY_S)
        while True:
            jobs.waiting = anyio.Event()
            job = await to_thread.run_sync(jobs.store.next_job)
            if job is not None:
                await _transcribe(job, jobs)
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


async def _transcribe(job: Job, jobs: Jobs) -> None:
    reply = await _ask_worker(jobs.path(job.id))
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


async def _ask_worker(path: Path) -> dict[str, str] | None:
    """Have a process of its own transcribe a recording; None when it crashes."""
    process = await anyio.open_process(
        [sys.executable, "-m", "engine.devserver.worker", str(path), str(os.getpid())],
        stderr=None,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": _python_path()},
    )
    try:
        output = await _read_all(process)
        return _reply(output) if await process.wait() == 0 else None
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


def _reply(output: bytes) -> dict[str, str] | None:
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
    return bytes(output)


def _python_path() -> str:
    """Where the worker finds this package, from whatever folder the server was started."""
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))

"""A job's way from recording to transcript, stage by stage, from whatever was last committed.

Every stage reads what it needs from the manifest and leaves its result there, so a run may end anywhere and the
next one goes on. What comes next is decided by `core.job`; nothing here remembers between runs.
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from msgspec.structs import replace

from .core.job import FINAL, Stage, next_stage
from .errors import InternalError, SpeechStreamError
from .events import Completed, Failed, Opened
from .identity import is_only_copy
from .model import JobState
from .runtime.live import LiveReader, LiveWriter
from .runtime.ownership import owned
from .stages.attempt import Attempt, Wishes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .model import JobRecord
    from .runtime.crew import Crew

log = logging.getLogger("speechstream.job")
_FOLLOW_EVERY_S: Final = 0.25


async def run(job: JobRecord, crew: Crew, wishes: Wishes) -> JobRecord:
    """Bring a job to its goal, as its owner or by watching its owner do it.

    Raises:
        SpeechStreamError: the attempt ended. What was committed stays, and the next run goes on from it.
    """
    if _reached(job, wishes.goal):
        return job
    folder = crew.manifest.job_folder(job.id)
    reader = LiveReader(folder)
    told = False
    while not _reached(job, wishes.goal):
        with owned(crew.manifest.job_folder(job.id)) as mine:  # its owner removes it behind itself
            if mine:
                onward = replace(crew, emit=LiveWriter(folder, crew.clock, crew.emit))
                try:
                    with crew.exchanger.brake.link.telling(job.id, onward.emit):
                        return await _drive(job.id, Attempt(onward, wishes, folder))
                finally:
                    if _leaves_nothing(crew.manifest.job(job.id), wishes):
                        shutil.rmtree(folder, ignore_errors=True)
        if not told:
            told = True
            crew.emit(Opened(job.id, job.source, resumed=True, attached=True))
        event = reader.newest()
        if event is not None and not isinstance(event, (Completed, Failed)):
            crew.emit(event)
        await crew.clock.sleep(_FOLLOW_EVERY_S)
        job = crew.manifest.job(job.id)
    return job


def _reached(job: JobRecord, goal: JobState) -> bool:
    match goal:
        case JobState.SUBMITTING:
            met = job.state in {JobState.SUBMITTING, JobState.PROCESSING}
        case JobState.PROCESSING:
            met = job.state is JobState.PROCESSING
        case _:
            met = False
    return met or job.state in FINAL


def _leaves_nothing(job: JobRecord, wishes: Wishes) -> bool:
    """Whether the job's folder goes. What came through a pipe stays to the end: there is no other copy."""
    taken = job.state is JobState.PROCESSING and not is_only_copy(job)
    return job.state in FINAL or (taken and not wishes.keep_artifact)


async def _drive(job_id: str, attempt: Attempt) -> JobRecord:
    """Run stage after stage until the goal is reached. Its owner holds the job's lock throughout."""
    job = attempt.manifest.job(job_id)
    try:
        while not _reached(job, attempt.wishes.goal):
            job = await _next(job, attempt)
    except SpeechStreamError as error:
        resumable = attempt.manifest.job(job_id).state not in FINAL
        attempt.emit(Failed(job_id, error.kind, error.message, error.hint, resumable))
        raise
    if job.state is JobState.COMPLETED:
        attempt.emit(Completed(job_id))
    return job


async def _next(job: JobRecord, attempt: Attempt) -> JobRecord:
    """Run one stage. Its module is imported now: most commands need only some of them."""
    stage = next_stage(job)
    log.info("job %s is %s; next: %s", job.id, job.state, stage.name.lower().replace("_", " "))
    match stage:
        case Stage.PREPARE:
            from .stages.preparation import prepare

            return await prepare(job, attempt)
        case Stage.UPLOAD:
            transfer = await anyio.to_thread.run_sync(_load_transfer)
            return await transfer(job, attempt)
        case Stage.SUBMIT:
            from .stages.submission import hand_in

            return await hand_in(job, attempt)
        case Stage.POLL:
            from .stages.transcript import await_transcript

            return await await_transcript(job, attempt)
        case Stage.ASK_A_PERSON:
            from .stages.submission import ask_a_person

            return ask_a_person(job, attempt)
        case Stage.NOTHING:
            raise InternalError(f"job {job.id} is {job.state} and was run all the same")


def _load_transfer() -> Callable[[JobRecord, Attempt], Awaitable[JobRecord]]:
    """What sends, httpx with it. Loaded beside the loop, where the first connections are being made meanwhile."""
    from .runtime import line, sockets  # noqa: F401 - the first request would load them
    from .stages.transfer import transfer

    return transfer

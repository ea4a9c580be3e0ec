"""How a job ends before its time, and what is swept up behind ended ones."""

from __future__ import annotations

import contextlib
import random
import shutil
from typing import TYPE_CHECKING, Final

from .core.job import FINAL
from .errors import NoSuchJob, SpeechStreamError, UserError
from .events import Warned
from .faults import Fault
from .model import JobKind, JobState, WireName
from .runtime.live import drop_draft, has_draft
from .runtime.ownership import owned
from .wire import tus
from .wire.address import resolve

if TYPE_CHECKING:
    from .model import JobRecord
    from .runtime.crew import Crew
    from .runtime.manifest import Manifest

_SWEPT: Final = 500  # takes about 20 ms


async def discard(job: JobRecord, crew: Crew) -> JobRecord:
    """Cancel a job: it is `cancelled` first, then its upload goes from the server if that can be had.

    Raises:
        SpeechStreamError: it is another process's.
    """
    folder = crew.manifest.job_folder(job.id)
    with owned(folder) as mine:
        if not mine:
            raise UserError(
                f"Job {job.id} is being worked on by another process", hint="stop that one first, then cancel"
            )
        job = crew.manifest.job(job.id)
        before = job.state
        if before not in FINAL:
            job = crew.manifest.move(job.id, JobState.CANCELLED)
        shutil.rmtree(folder, ignore_errors=True)
    if before in {JobState.UPLOADING, JobState.SUBMITTING} and job.wire is WireName.TUS:
        try:
            await _discard_lanes(job, crew)
        except (Fault, SpeechStreamError) as error:
            crew.emit(Warned(job.id, f"the server's copy stays until it expires: {error}"))
    return job


async def _discard_lanes(job: JobRecord, crew: Crew) -> None:
    urls = [url for url in (job.joined_url, *(lane.url for lane in crew.manifest.lanes(job))) if url is not None]
    if urls:
        base_url = job.endpoint if job.kind is JobKind.DELIVERY else await crew.access.base_url(job.endpoint)
        for url in urls:
            await crew.exchanger.converse(tus.terminate(resolve(base_url, url.reveal())))


def sweep(manifest: Manifest) -> None:
    """Remove what a kill left behind: the folder of a job that is at its end, progress that was half written.

    Of many folders only some are looked at, others the next time: no start gets slower for what lies there.
    """
    folders = manifest.job_folders()
    for folder in random.sample(folders, min(len(folders), _SWEPT)):
        with contextlib.suppress(NoSuchJob):
            ended = manifest.job(folder.name).state in FINAL
            if ended or has_draft(folder):
                with owned(folder) as mine:
                    if mine and ended:
                        shutil.rmtree(folder, ignore_errors=True)
                    elif mine:
                        drop_draft(folder)

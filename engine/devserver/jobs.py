"""From received bytes to a job, exactly once."""

import re
import secrets
from http import HTTPStatus
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec import Struct

from .errors import Refusal
from .folder import Folder, sync_folder
from .headers import bad
from .store import Job, KeyReusedError, Store

_KEY = re.compile(r'"(?P<quoted>[ !#-\[\]-~]{1,255})"|(?P<bare>[!#-\[\]-~]{1,255})')


def idempotency_key(value: str | None) -> str | None:
    """Read ``Idempotency-Key``: a string as RFC 8941 writes it, or the same without quotes.

    Raises:
        Refusal: 400 when it is neither.
    """
    if value is None:
        return None
    match = _KEY.fullmatch(value)
    if match is None:
        raise bad("Idempotency-Key is not a string of up to 255 printable characters")
    return match["quoted"] or match["bare"]


def key_reused() -> Refusal:
    """A 422."""
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "this Idempotency-Key stands for another recording",
        extra={"code": "idempotency_key_reused"},
    )


def new_job_id() -> str:
    """Make a processing_id."""
    return secrets.token_hex(16)


class Accepted(Struct):
    """A job, and whether it was there before this request."""

    job: Job
    replayed: bool


class Jobs:
    """Makes jobs of recordings that lie in the recordings folder under the job's id."""

    def __init__(self, folder: Folder, store: Store) -> None:
        self.store = store
        self.waiting = anyio.Event()
        self._folder = folder

    def path(self, job_id: str) -> Path:
        """The recording of a job."""
        return self._folder.recordings / job_id

    async def accept(self, job: Job, key: str | None) -> Accepted:
        """Make the job, or find the one that its upload or key already has, and drop the copy made for this one.

        Raises:
            Refusal: 422 when the key stands for another recording.
        """
        accepted = await to_thread.run_sync(self._accept, job, key)
        self.waiting.set()
        return accepted

    def _accept(self, job: Job, key: str | None) -> Accepted:
        path = self.path(job.id)
        sync_folder(path.parent)
        try:
            chosen = self.store.add_job(job, key)
        except KeyReusedError as error:
            path.unlink()
            raise key_reused() from error
        if chosen.id != job.id:
            path.unlink()
        return Accepted(chosen, replayed=chosen.id != job.id)

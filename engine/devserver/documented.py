"""The documented calls: ``POST /v1/upload`` and ``GET /v1/status``."""

import time
from http import HTTPStatus

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .body import body_of
from .config import Config
from .errors import Refusal
from .headers import bad
from .jobs import Jobs, idempotency_key
from .limits import SlidingWindow
from .single import Single
from .submit import Submission, Submit

_JSON_BYTES_MAX = 16 << 20  # digests of 400 000 parts


def _too_many(wait_s: int, message: str) -> Refusal:
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, message, headers={"Retry-After": str(wait_s)})


class Documented:
    """The endpoints ``/v1/upload`` and ``/v1/status``."""

    def __init__(self, config: Config, jobs: Jobs, single: Single, submit: Submit) -> None:
        self._jobs = jobs
        self._single = single
        self._submit = submit
        self._uploads = SlidingWindow(config.uploads_per_window, config.upload_window_s, time.monotonic)
        self._statuses = SlidingWindow(1, config.status_interval_s, time.monotonic)

    async def upload(self, request: Request) -> Response:
        """Answer ``POST /v1/upload``, with the recording itself or by reference to an upload."""
        account: str = request.scope["account"]
        wait_s = self._uploads.take(account)
        if wait_s is not None:
            raise _too_many(wait_s, "too many uploads; the limit is counted over the last minute")
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        body = body_of(request.scope)
        content_type = request.headers.get("Content-Type", "")
        if content_type.partition(";")[0].strip().lower() == "application/json":
            text = await body.read(_JSON_BYTES_MAX)
            accepted = await self._submit(account, await to_thread.run_sync(Submission.parse, text), key)
        else:
            accepted = await self._single(account, content_type, body, key)
        headers = {"Idempotent-Replayed": "true"} if accepted.replayed else {}
        return JSONResponse({"processing_id": accepted.job.id}, headers=headers)

    async def status(self, request: Request) -> Response:
        """Answer ``GET /v1/status?processing_id=``."""
        job_id = request.query_params.get("processing_id")
        if not job_id:
            raise bad("the parameter processing_id is missing")
        job = await to_thread.run_sync(self._jobs.store.job, job_id)
        if job is None or job.account != request.scope["account"]:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such job")
        wait_s = self._statuses.take(job_id)
        if wait_s is not None:
            raise _too_many(wait_s, "too many status calls for this job")
        return JSONResponse({"status": job.status, "transcription": job.transcription, "message": job.message})

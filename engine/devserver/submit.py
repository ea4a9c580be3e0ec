"""Submit by reference: a JSON ``POST /v1/upload`` that turns an upload into a job."""

import json
import os
import re
import weakref
from http import HTTPStatus
from pathlib import Path
from typing import Self

import anyio
import xxhash
from anyio import to_thread
from msgspec import Struct

from . import concat
from .errors import Refusal
from .headers import bad
from .jobs import Accepted, Jobs, key_reused, new_job_id
from .store import Job, Store, Upload
from .uploads import Uploads, name_of

ALGORITHM = "xxh3-128-parts"
PART_BYTES_MAX = 1 << 40
_HEX = re.compile(r"[0-9a-f]{32}")
_READ_BYTES = 1 << 20
_FILENAME_MAX = 1024
_PROOFS_AT_ONCE = 2  # each reads a whole recording: more would only wait for the disk, and leave no thread to others


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _is_text(value: str) -> bool:
    """Whether it has a fair length, and no half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return 1 <= len(value) <= _FILENAME_MAX and not any("\ud800" <= char <= "\udfff" for char in value)


class Submission(Struct, frozen=True):
    """What the JSON says: which upload, and what its bytes must be."""

    upload_id: str
    size: int
    filename: str
    part_size: int
    parts: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read and check the JSON.

        Raises:
            Refusal: 400, with the member that is wrong.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise bad("the body is not JSON") from error
        if not isinstance(document, dict):
            raise bad("the body is not a JSON object")
        url, filename = document.get("upload"), document.get("filename")
        upload_id = concat.id_in(url) if isinstance(url, str) else None
        if upload_id is None:
            raise bad("upload is not the URL of an upload on this server")
        if not isinstance(filename, str) or not _is_text(filename):
            raise bad(f"filename is not a string of 1 to {_FILENAME_MAX} characters")
        size, part_size = _whole(document.get("size")), _whole(document.get("part_size"))
        if size is None:
            raise bad("size is not a number of bytes")
        if not part_size or part_size > PART_BYTES_MAX:
            raise bad("part_size is not a positive number of bytes")
        parts = _digests(document.get("parts"), -(-size // part_size))
        _check_digest(document.get("digest"), parts)
        return cls(upload_id, size, filename, part_size, parts)


def _digests(listed: object, count: int) -> tuple[bytes, ...]:
    if not isinstance(listed, list) or len(listed) != count:
        raise bad(f"parts is not a list of the {count} digests that size and part_size call for")
    if not all(isinstance(part, str) and _HEX.fullmatch(part) for part in listed):
        raise bad("parts has something else than 32 lower-case hexadecimal digits")
    return tuple(bytes.fromhex(part) for part in listed)


def _check_digest(digest: object, parts: tuple[bytes, ...]) -> None:
    if not isinstance(digest, dict) or digest.get("algorithm") != ALGORITHM:
        raise bad(f"digest.algorithm is not {ALGORITHM}")
    if digest.get("value") != xxhash.xxh3_128_hexdigest(b"".join(parts)):
        raise bad("digest.value is not the digest of parts")


def bad_parts(path: Path, part_size: int, parts: tuple[bytes, ...]) -> list[int]:
    """Hash a file part by part and tell which are not what they should be. Blocks; little memory."""
    wrong: list[int] = []
    buffer = memoryview(bytearray(min(_READ_BYTES, part_size)))
    with path.open("rb", buffering=0) as file:
        for index, wanted in enumerate(parts):
            digest = xxhash.xxh3_128()
            left = part_size
            while left and (got := file.readinto(buffer[: min(left, len(buffer))])):
                digest.update(buffer[:got])
                left -= got
            if digest.digest() != wanted:
                wrong.append(index)
    return wrong


class Submit:
    """Turns a complete upload into a job, once."""

    def __init__(self, store: Store, uploads: Uploads, jobs: Jobs) -> None:
        self._store = store
        self._uploads = uploads
        self._jobs = jobs
        self._proofs = anyio.CapacityLimiter(_PROOFS_AT_ONCE)
        self._turns: weakref.WeakValueDictionary[str, anyio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, account: str, submission: Submission, key: str | None) -> Accepted:
        """Make a job of the upload, or find the one it already became.

        Raises:
            Refusal: 404 or 410 without the upload, 409 with ``Upload-Offset`` before it is complete, 422 when the
                bytes are not those of the digests or the key stands for another recording.
        """
        name = name_of(submission.upload_id)
        turn = self._turns.setdefault(name, anyio.Lock())
        async with turn:  # two at once would hash the same bytes twice; the database keeps them one job anyhow
            known = await to_thread.run_sync(self._known, account, name, key)
            if known is not None:
                return known
            upload = await self._complete(account, submission)
            job = Job(
                id=new_job_id(),
                account=account,
                upload=name,
                filename=submission.filename,
                size=submission.size,
            )
            path = self._jobs.path(job.id)
            await to_thread.run_sync(self._prove, upload, submission, path, limiter=self._proofs)
            return await self._jobs.accept(job, key)

    def _known(self, account: str, name: str, key: str | None) -> Accepted | None:
        of_key = None if key is None else self._store.job_of_key(account, key)
        if of_key is not None and of_key.upload != name:
            raise key_reused()
        job = of_key or self._store.job_of_upload(account, name)
        return None if job is None else Accepted(job, replayed=True)

    async def _complete(self, account: str, submission: Submission) -> Upload:
        upload = await self._uploads.find(account, submission.upload_id)
        if upload.kind == "final":
            upload = await to_thread.run_sync(concat.finish, self._store, upload)
        else:
            async with self._uploads.hold(upload) as held:
                upload = held.upload
        if not upload.complete:
            told = {"Upload-Offset": str(upload.synced)}
            message = f"the upload is not complete: {upload.synced} bytes are here"
            raise Refusal(HTTPStatus.CONFLICT, message, headers=told)
        if upload.length != submission.size:
            message = f"the upload has {upload.length} bytes, not {submission.size}"
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, message, extra={"code": "size_mismatch"})
        return upload

    def _prove(self, upload: Upload, submission: Submission, path: Path) -> None:
        """Put the recording in its place, and look at what lies there."""
        try:
            if upload.kind == "final":
                concat.assemble(self._uploads, self._store, upload, path)
            else:
                os.link(self._uploads.path(upload.name), path)
            wrong = bad_parts(path, submission.part_size, submission.parts)
        except FileNotFoundError as error:
            raise Refusal(HTTPStatus.GONE, "this upload was terminated or has expired") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if wrong:
            path.unlink()
            message = f"{len(wrong)} of {len(submission.parts)} parts arrived damaged"
            extra = {"code": "digest_mismatch", "bad_parts": wrong}
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, message, extra=extra)

"""The service's own calls: turn uploaded bytes into a job, and ask how it fares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from msgspec import Struct

from ..faults import BadParts, Busy, Fault, Nonsense
from ..model import JobStatus
from .address import with_path
from .message import LONG_REPLY_WAIT_S, Body, Conversation, Request, Response
from .replies import complaint, fault_of, retry_after_s

if TYPE_CHECKING:
    from ..redaction import Secret

DIGEST_ALGORITHM: Final = "xxh3-128-parts"
_UNPROCESSABLE: Final = 422
_CONFLICT: Final = 409
_LONGEST_ID: Final = 256  # a generous bound on what must fit a URL, a terminal and a table

Headers = tuple[tuple[str, str], ...]


class Submission(Struct, frozen=True):
    """All that `POST /v1/upload` by reference says: which upload, and the proof of its bytes."""

    upload: Secret
    size_bytes: int
    filename: str
    part_size_bytes: int
    digest: bytes
    parts: tuple[bytes, ...]
    idempotency_key: str


def submit(endpoint: str, submission: Submission, *, headers: Headers = ()) -> Conversation[str]:
    """Turn a complete upload into a job; returns the processing_id. Repeating it is always safe.

    Raises:
        BadParts: the server's digests differ from ours.
        Gone: the upload is not there.
        Conflict: the upload is not complete, and the reply says where it stands.
        Fault: no id was learnt; ask again.
    """
    document = {
        "upload": submission.upload.reveal(),
        "size": submission.size_bytes,
        "filename": submission.filename.encode("utf-8", "replace").decode(),
        "part_size": submission.part_size_bytes,
        "digest": {"algorithm": DIGEST_ALGORITHM, "value": submission.digest.hex()},
        "parts": [part.hex() for part in submission.parts],
    }
    response = yield Request(
        "POST",
        with_path(endpoint, "upload"),
        (
            ("Content-Type", "application/json"),
            ("Idempotency-Key", f'"{submission.idempotency_key}"'),
            *headers,
        ),
        Body(json.dumps(document).encode()),
        reply_wait_s=LONG_REPLY_WAIT_S,
    )
    if response.status == _UNPROCESSABLE:
        raise _mismatch(response)
    if response.status == _CONFLICT and "upload-offset" not in response.headers:
        # The server is still at work on it: only an offset says that bytes are missing.
        message = f"the server is not ready for the submission: {complaint(response.body)}"
        raise Busy(message, retry_after_s=retry_after_s(response.headers), sent_all=response.sent_all)
    return read_processing_id(response, "the submission")


def status(endpoint: str, processing_id: str, *, headers: Headers = ()) -> Conversation[JobStatus]:
    """Ask once how the job fares.

    Raises:
        Gone: the service does not know the id.
        Nonsense: the reply is not a status.
        Fault: anything else that is not an answer.
    """
    url = f"{with_path(endpoint, 'status')}?processing_id={quote(processing_id, safe='')}"
    response = yield Request("GET", url, headers)
    if not response.ok:
        raise fault_of(response, "the status call")
    answer = response.json_object()
    state = answer.get("status")
    if not isinstance(state, str) or not state:
        raise Nonsense("the status reply has no “status”")
    message = _text(answer, "message")
    return JobStatus(
        processing_id, _shown(state), _text(answer, "transcription"), None if message is None else _shown(message)
    )


def read_processing_id(response: Response, doing: str) -> str:
    """The id in a reply to either form of the upload call.

    Raises:
        Nonsense: a success without a usable id.
        Fault: what the status stands for.
    """
    if not response.ok:
        raise fault_of(response, doing)
    value = response.json_object().get("processing_id")
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _LONGEST_ID:
        raise Nonsense(f"the reply to {doing} has no usable “processing_id”", sent_all=response.sent_all)
    return value


def _text(answer: dict[str, object], name: str) -> str | None:
    value = answer.get(name)
    if value is not None and not isinstance(value, str):
        raise Nonsense(f"the status reply's “{name}” is not text")
    return None if value is None else _whole(value)


def _shown(text: str) -> str:
    """What a server says to people, made harmless to their terminal."""
    return "".join(char if char.isprintable() else "?" for char in _whole(text))


def _whole(text: str) -> str:
    """JSON can hold half a character (RFC 8259 section 8.2), which no file, terminal or manifest takes."""
    return text.encode("utf-8", "replace").decode()


def _mismatch(response: Response) -> Fault:
    try:
        parts = response.json_object().get("bad_parts")
    except Nonsense:
        parts = None
    if isinstance(parts, list) and all(isinstance(part, int) and part >= 0 for part in parts):
        return BadParts("the server's digests differ from ours", tuple(parts))
    return fault_of(response, f"the submission ({complaint(response.body)})")

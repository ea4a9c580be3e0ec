"""The documented upload: one multipart POST that carries the whole artifact and answers with the job's id.

It cannot resume. Its last byte may create a job, so the request says so and the driver commits that
fact before the last byte leaves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .address import with_path
from .message import LONG_REPLY_WAIT_S, Body, Conversation, Request
from .service import read_processing_id

if TYPE_CHECKING:
    from ..model import Span

_UNSAFE: Final = re.compile(r'["\r\n]')


def post(  # noqa: PLR0913 - all but two are keyword-only and each is a word of the request
    endpoint: str,
    span: Span,
    *,
    filename: str,
    media_type: str,
    boundary: str,
    idempotency_key: str,
    headers: tuple[tuple[str, str], ...] = (),
) -> Conversation[str]:
    """Send the whole artifact as the multipart field `file`; returns the processing_id.

    `boundary` is the caller's random token (RFC 2046 section 5.1.1: at most 70 characters); 128 random bits make
    its occurrence in the artifact a non-event. The file name is escaped as browsers do (WHATWG form encoding).

    Raises:
        Fault: no id was learnt. Its `sent_all` says whether a job may exist all the same.
    """
    safe_name = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", filename)
    before = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{safe_name}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    ).encode("utf-8", "surrogateescape")
    after = f"\r\n--{boundary}--\r\n".encode()
    response = yield Request(
        "POST",
        with_path(endpoint, "upload"),
        (
            ("Content-Type", f"multipart/form-data; boundary={boundary}"),
            ("Idempotency-Key", f'"{idempotency_key}"'),
            *headers,
        ),
        Body(before, span, after),
        reply_wait_s=LONG_REPLY_WAIT_S,
        final_byte_commits=True,
    )
    return read_processing_id(response, "the upload")

from __future__ import annotations

import json

import pytest

from engine.faults import BadParts, Busy, Conflict, Fault, Gone, Nonsense, Refused, Throttled, Unauthorized
from engine.model import JobStatus
from engine.redaction import Secret
from engine.wire import service
from tests.engine.talk import Talk

ENDPOINT = "https://speech.example/v1"
UPLOAD = "https://speech.example/v1/uploads/7c9e6679f7425d40"
SUBMISSION = service.Submission(
    upload=Secret(UPLOAD),
    size_bytes=12_000_000,
    filename="Gespräch.ogg",
    part_size_bytes=8 << 20,
    digest=bytes(range(16)),
    parts=(b"\x01" * 16, b"\x02" * 16),
    idempotency_key="6f1d0a2e-8a3c-4b52-9d0c-2f1f6e1d7b11",
)


def submitting() -> Talk[str]:
    return Talk(service.submit(ENDPOINT, SUBMISSION))


def asking(processing_id: str = "id-1") -> Talk[JobStatus]:
    return Talk(service.status(ENDPOINT, processing_id))


def test_the_submission_is_exactly_what_the_service_documents() -> None:
    """Which upload, how large, under what name, and the proof of every part; the key in a quoted header."""
    talk = submitting()
    assert (talk.request.method, talk.request.url) == ("POST", "https://speech.example/v1/upload")
    assert talk.header == {
        "Content-Type": "application/json",
        "Idempotency-Key": '"6f1d0a2e-8a3c-4b52-9d0c-2f1f6e1d7b11"',
    }
    assert json.loads(talk.request.body.before) == {
        "upload": UPLOAD,
        "size": 12_000_000,
        "filename": "Gespräch.ogg",
        "part_size": 8 << 20,
        "digest": {"algorithm": "xxh3-128-parts", "value": "000102030405060708090a0b0c0d0e0f"},
        "parts": ["01" * 16, "02" * 16],
    }
    assert not talk.request.final_byte_commits  # repeating it is safe
    assert talk.reply(200, b'{"processing_id": "id-1"}').result == "id-1"


@pytest.mark.parametrize("endpoint", ["https://speech.example/v1", "https://speech.example/v1/"])
def test_the_endpoint_may_end_with_a_slash(endpoint: str) -> None:
    """Both forms name the same call."""
    assert Talk(service.submit(endpoint, SUBMISSION)).request.url == "https://speech.example/v1/upload"


def test_bad_parts_are_named() -> None:
    """422 digest_mismatch carries the indices of the parts to prove again."""
    with pytest.raises(BadParts) as caught:
        submitting().reply(422, b'{"error": "digest_mismatch", "bad_parts": [0, 7]}')
    assert caught.value.parts == (0, 7)


@pytest.mark.parametrize("parts", ["null", '"all"', "[-1]", '["0"]', "{}"])
def test_a_422_about_something_else_is_a_refusal(parts: str) -> None:
    """Only a list of part numbers is a digest mismatch."""
    with pytest.raises(Refused):
        submitting().reply(422, f'{{"error": "no", "bad_parts": {parts}}}'.encode())


@pytest.mark.parametrize(
    ("status", "fault"),
    [(404, Gone), (410, Gone), (409, Busy), (401, Unauthorized), (400, Refused), (429, Throttled), (503, Busy)],
)
def test_refused_submissions(status: int, fault: type[Fault]) -> None:
    """What the upload lacks, what the key lacks, and what only needs patience are told apart."""
    with pytest.raises(fault):
        submitting().reply(status)


def test_a_conflict_is_about_the_upload_only_with_its_offset() -> None:
    """409 says where the upload stands, or that the service is not done with it; Retry-After is kept."""
    with pytest.raises(Conflict):
        submitting().reply(409, upload_offset="7")
    with pytest.raises(Busy) as caught:
        submitting().reply(409, retry_after="7")
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b'{"processing_id": "id', b"[]", b'{"id": "id-1"}'])
def test_a_captive_portal_is_not_the_service(body: bytes) -> None:
    """A 200 counts only with what the call must answer."""
    with pytest.raises(Nonsense):
        submitting().reply(200, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"status": "processing"}', JobStatus("id-1", "processing")),
        (b'{"status": "completed", "transcription": "hello"}', JobStatus("id-1", "completed", "hello")),
        (b'{"status": "completed", "transcription": ""}', JobStatus("id-1", "completed", "")),
        (b'{"status": "failed", "message": "too noisy"}', JobStatus("id-1", "failed", None, "too noisy")),
        (
            b'{"status": "processing", "transcription": null, "message": null, "eta_s": 5}',
            JobStatus("id-1", "processing"),
        ),
        (b'{"status": "completed", "transcription": "\\ud83d\\ude00"}', JobStatus("id-1", "completed", "😀")),
    ],
)
def test_status_answers(body: bytes, expected: JobStatus) -> None:
    """Documented fields are read, unknown ones are ignored."""
    talk = asking()
    assert (talk.request.method, talk.request.url) == ("GET", f"{ENDPOINT}/status?processing_id=id-1")
    assert talk.reply(200, body).result == expected


def test_half_a_character_does_not_cost_the_transcript() -> None:
    """A text cut within an emoji ends in half a surrogate pair, which no file can hold: only that is replaced."""
    answer = asking().reply(200, b'{"status": "completed", "transcription": "good \\ud83d bye"}').result
    assert answer.transcription is not None
    assert answer.transcription.encode().startswith(b"good ")
    assert answer.transcription.endswith(" bye")


@pytest.mark.parametrize(
    "body",
    [
        *[b"", b"<html>", b'{"status"', b"[]", b"{}", b'{"status": 1}', b'{"status": ""}', b'{"status": null}'],
        *[b'{"status": "completed", "transcription": ["hello"]}', b'{"status": "failed", "message": {}}'],
        *[b"[" * 100_000, b'{"status": "processing", "n": ' + b"9" * 5000 + b"}", b"\xff\xfe"],
    ],
)
def test_what_is_no_status(body: bytes) -> None:
    """A portal's page, a torn body and a reply of another shape are not answers about the job."""
    with pytest.raises(Nonsense):
        asking().reply(200, body)


def test_an_id_is_data() -> None:
    """Whatever the service chose as an id, it adds no parameter to the call."""
    assert asking("a&b=c/d é").request.url == f"{ENDPOINT}/status?processing_id=a%26b%3Dc%2Fd%20%C3%A9"


def test_an_unknown_id() -> None:
    """404 is about the id."""
    with pytest.raises(Gone):
        asking().reply(404, b'{"message": "unknown"}')


def test_what_a_server_says_cannot_move_a_cursor() -> None:
    """Status and message are made printable; a transcript is data and stays as it is."""
    body = b'{"status": "\\u001b[2Jdone", "message": "a\\u0007b\\ud800", "transcription": "one\\ntwo\\u001b"}'
    assert asking().reply(200, body).result == JobStatus("id-1", "?[2Jdone", "one\ntwo\x1b", "a?b?")


@pytest.mark.parametrize("value", ["id\\u001b[2J", "id\\n", "\\ud800", "x" * 257])
def test_an_id_that_fits_no_line(value: str) -> None:
    """An id is printed, stored and put into a URL: control characters, half a character or a novel is none."""
    with pytest.raises(Nonsense, match="no usable"):
        submitting().reply(200, f'{{"processing_id": "{value}"}}'.encode())


def test_the_longest_id() -> None:
    """256 characters are taken, of any script."""
    assert submitting().reply(200, f'{{"processing_id": "{"ü" * 256}"}}'.encode()).result == "ü" * 256

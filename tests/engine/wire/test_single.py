from __future__ import annotations

from email import message_from_bytes, policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.faults import Fault, Intercepted, Nonsense, Refused, ServerTrouble, Throttled, Unauthorized
from engine.model import Span
from engine.wire import single
from tests.engine.talk import Talk

ENDPOINT = "https://speech.example/v1"


def posting(filename: str) -> Talk[str]:
    return Talk(
        single.post(
            ENDPOINT,
            Span(0, 300),
            filename=filename,
            media_type="audio/ogg",
            boundary="b0undary",
            idempotency_key="6f1d",
        )
    )


def test_the_request_byte_by_byte() -> None:
    """The documented call: one multipart field `file`, its length known beforehand, its last byte a commitment."""
    talk = posting("talk.ogg")
    assert (talk.request.method, talk.request.url) == ("POST", "https://speech.example/v1/upload")
    assert talk.header == {"Content-Type": "multipart/form-data; boundary=b0undary", "Idempotency-Key": '"6f1d"'}
    body = talk.request.body
    assert body.before == (
        b"--b0undary\r\n"
        b'Content-Disposition: form-data; name="file"; filename="talk.ogg"\r\n'
        b"Content-Type: audio/ogg\r\n\r\n"
    )
    assert body.span == Span(0, 300)
    assert body.after == b"\r\n--b0undary--\r\n"
    assert body.size_bytes == len(body.before) + 300 + len(body.after)
    assert talk.request.final_byte_commits
    assert talk.reply(200, b'{"processing_id": "id-1"}').result == "id-1"


@settings(deadline=None, max_examples=200)
@given(name=st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_no_file_name_adds_a_header_or_a_field(name: str) -> None:
    """Quotes and line ends in a name cannot leave the header they stand in."""
    body = posting(name).request.body
    head, _, rest = body.before.partition(b"\r\n\r\n")
    assert rest == b""
    assert head.count(b"\r\n") == 2
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert head.count(b'"') == 4


def test_an_injection_attempt_stays_a_name() -> None:
    """What a parser of another make finds is one part with our header fields, and the hostile name as data."""
    name = 'x"\r\nContent-Type: text/html\r\n\r\n<script>'
    body = posting(name).request.body
    whole = b"Content-Type: multipart/form-data; boundary=b0undary\r\n\r\n" + body.before + b"OggS" + body.after
    (part,) = message_from_bytes(whole, policy=policy.HTTP).iter_parts()
    assert part.get_content_type() == "audio/ogg"
    assert part.get_payload(decode=True) == b"OggS"
    assert sorted(part.keys()) == ["Content-Disposition", "Content-Type"]


def test_a_file_name_that_is_no_text_goes_as_its_bytes() -> None:
    """Bytes that are not UTF-8 are sent as the file system has them."""
    assert b'filename="\xff.mp4"' in posting("\udcff.mp4").request.body.before


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (302, Intercepted),
        (400, Refused),
        (401, Unauthorized),
        (403, Unauthorized),
        (429, Throttled),
        (502, ServerTrouble),
    ],
)
def test_refusals(status: int, fault: type[Fault]) -> None:
    """No id was learnt, and the fault says why."""
    with pytest.raises(fault):
        posting("a").reply(status, b'{"processing_id": "id-1"}')


@pytest.mark.parametrize(
    "body",
    [
        *[b"", b"<html>Please log in</html>", b'{"processing_id": "id', b'["id-1"]', b"{}", b'{"processing_id": ""}'],
        *[b'{"processing_id": 7}', b'{"processing_id": null}', b'{"processing_id": " "}', b"[" * 100_000],
        b'{"processing_id": "\\ud800"}',
    ],
)
def test_a_success_without_an_id_leaves_the_outcome_open(body: bytes) -> None:
    """The request was read to its end by somebody, so a job may exist: the fault must say that all was sent."""
    with pytest.raises(Nonsense) as caught:
        posting("a").reply(200, body)
    assert caught.value.sent_all

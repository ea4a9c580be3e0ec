from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.faults import Busy, Fault, Intercepted, Nonsense, ServerTrouble, Throttled
from engine.wire.message import Response, excerpt
from engine.wire.replies import complaint, fault_of, http_date, retry_after_s

DATE = "Tue, 15 Nov 1994 08:12:31 GMT"
LATER = "Tue, 15 Nov 1994 08:13:31 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "99999999"}, 86_400.0),
        ({"retry-after": "9" * 400}, 86_400.0),
        ({"retry-after": LATER, "date": DATE}, 60.0),
        ({"retry-after": DATE, "date": LATER}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": DATE}, 86_400.0),
        ({"retry-after": LATER}, None),
        ({"retry-after": LATER, "date": "now"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "."}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date against the server's own clock; nonsense counts as absent, and a day is the most."""
    assert retry_after_s(headers) == seconds


@settings(deadline=None, max_examples=150)
@given(
    value=st.text()
    | st.from_regex(r"(Mon, )?\d{1,3} (Jan|Feb|Foo) \d{1,6} \d{1,3}:\d{2}(:\d{2})? ([+-]\d{1,20}|GMT)?", fullmatch=True)
)
def test_no_date_breaks_the_reader(value: str) -> None:
    """Dates are a server's text: any of them is a moment or nothing."""
    assert http_date(value) is None or isinstance(http_date(value), float)
    wait_s = retry_after_s({"retry-after": value, "date": DATE})
    assert wait_s is None or 0.0 <= wait_s <= 86_400.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, Throttled), (503, Busy), (500, ServerTrouble), (502, ServerTrouble), (599, ServerTrouble)],
)
def test_patience_is_asked_for_in_any_refusal(status: int, kind: type[Fault]) -> None:
    """Retry-After belongs to the fault whatever the status."""
    fault = fault_of(Response(status, {"retry-after": "7"}), "the upload")
    assert type(fault) is kind
    assert fault.retry_after_s == 7.0
    assert fault.sent_all


@settings(deadline=None, max_examples=100)
@given(status=st.integers(100, 999).filter(lambda status: not 200 <= status < 300), body=st.binary(max_size=200))
def test_every_status_is_some_fault(status: int, body: bytes) -> None:
    """No reply outside 2xx goes without one, and its message is one printable line."""
    fault = fault_of(Response(status, {}, body), "the upload")
    assert str(status) in fault.message
    assert fault.message.isprintable()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://login.hotel.example/?ticket=c2VjcmV0", " to “https://login.hotel.example”"),
        ("https://user:c2VjcmV0@login.hotel.example:8443/", " to “https://login.hotel.example”"),
        ("/c2VjcmV0", ""),
        ("http://[", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("status", [301, 307, 399])
def test_a_redirect_is_somebody_elses_answer(status: int, location: str, said: str) -> None:
    """A recording is not carried to wherever a reply points; a person is told the host and no more."""
    fault = fault_of(Response(status, {"location": location}), "the upload")
    assert type(fault) is Intercepted
    assert fault.message == f"the upload was redirected{said} ({status})"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"message": "too many"}', "“too many”"),
        (b'{"error": "too many", "code": 7}', "“too many”"),
        (b'{"detail": "too many"}', "“too many”"),
        (b'{"error": {"code": 7}}', '“{"error": {"code": 7}}”'),
        (b"ERR_LOCKED: file\n  locked\n", "“ERR_LOCKED: file locked”"),
        (b"\x1b[2J\x07boo", "“?[2J?boo”"),
        (b'{"message": "half \\ud800 a character"}', "“half ? a character”"),
        (b"", "an empty body"),
        (b"[" * 100_000, "“" + "[" * 120 + "…”"),
    ],
)
def test_what_the_server_says_is_wrong(body: bytes, said: str) -> None:
    """The text meant for people, on one line, short, and unable to move a cursor."""
    assert complaint(body) == said


def test_an_excerpt_is_short() -> None:
    """The beginning of a long page, with a mark that more follows."""
    assert excerpt(b"x" * 1000) == f"“{'x' * 120}…”"


def test_json_that_is_no_object_is_nonsense() -> None:
    """A call that answers an object answers nothing else."""
    with pytest.raises(Nonsense, match="not a JSON object"):
        Response(200, {}, b"[1]").json_object()

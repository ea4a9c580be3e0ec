"""Requests nobody means well with: each is refused in so many words, nothing is kept, and the service goes on."""

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]
HEAD_BYTES = 64 << 10


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("GET /v1/status HTTP/1.1", ["X: " + "a" * HEAD_BYTES], 431),
        ("GET /v1/status HTTP/1.1", ["X: " + "a" * (4 << 20)], 431),
        ("GET /v1/status HTTP/1.1", ["X: a"] * 101, 431),
        ("GET /v1/status HTTP/1.1", ["X: a"] * 200_000, 431),
        ("GET /v1/status?" + "a" * 9000 + " HTTP/1.1", [], 414),
        ("POST /v1/uploads HTTP/1.1", ["Upload-Length: 3", "Upload-Metadata: a " + "YWFh" * 2048], 431),
        ("POST /v1/uploads HTTP/1.1", ["Upload-Concat: final;" + "/v1/uploads/x " * 1025], 400),
        ("POST /v1/uploads HTTP/1.1", ["Upload-Length: 3", "Idempotency-Key: " + "k" * 256], 400),
    ],
    ids=["field", "endless field", "fields", "endless fields", "address", "metadata", "lanes", "key"],
)
def test_a_head_that_is_too_much_is_refused(service: "Service", line: str, fields: list[str], status: int) -> None:
    """It is 431, 414 or 400, and its sender gets to read that although more is on its way."""
    before = service.files()
    assert service.statuses(service.said(service.by_hand(line, *fields))) == [status]
    assert service.files() == before


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 6"],
        ["Content-Length: -5"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5 5"],
        ["Content-Length: " + "9" * 30],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Content-Length: 5\nTransfer-Encoding: chunked"],
        ["Host: other"],
        ["X: a\x00b"],
        ["X a"],
        [": a"],
    ],
)
def test_a_request_with_two_meanings_is_none(service: "Service", fields: list[str]) -> None:
    """Whatever a proxy in front made of it, it is refused, and what follows it is not taken for a request."""
    smuggled = b"0\r\n\r\nGET /v1/openapi.json HTTP/1.1\r\nHost: test\r\n\r\n"
    asked = service.by_hand("POST /v1/uploads HTTP/1.1", "Upload-Length: 3", *fields, body=smuggled)
    (status,) = service.statuses(service.said(asked))
    assert status in {400, 501}


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\0" * 100_000,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\r\n" * 50_000,
    ],
    ids=["TLS", "HTTP/0.9", "zeros", "an answer", "blank lines"],
)
def test_what_is_not_http_is_refused(service: "Service", noise: bytes) -> None:
    """400 or 431 and the end of the connection."""
    (status,) = service.statuses(service.said(noise))
    assert status in {400, 431}


@pytest.mark.parametrize(
    "end", [b"ZZ\r\n", b"fffffffffffffffffffffff\r\n", b"1;" + b"a" * 200_000, b"0\r\n" + b"X: a\r\n" * 50_000]
)
def test_a_broken_chunk_ends_the_request(service: "Service", end: bytes) -> None:
    """Bytes before it count, the chunk does not, and no traceback is logged."""
    path = service.create(1000)
    fields = ["Transfer-Encoding: chunked", "Upload-Offset: 0", "Content-Type: application/offset+octet-stream"]
    answer = service.said(service.by_hand(f"PATCH {path} HTTP/1.1", *fields, body=b"3\r\nabc\r\n" + end))
    assert service.statuses(answer)[0] in {400, 431}
    service.wait_for(lambda: service.offset_unasked(path) == 3)
    assert service.offset(path) == 3
    assert "Traceback" not in service.log


@pytest.mark.parametrize(
    "length", ["9223372036854775807", "9223372036854775808", "9999999999999999999", "-1", "1e9", "٣", "", "3 "]
)
@pytest.mark.parametrize("name", ["Upload-Length", "Upload-Offset"])
def test_lengths_are_not_believed(service: "Service", name: str, length: str) -> None:
    """What is no number, or none that a disk could hold, is refused before anything is made."""
    path = service.create()
    before = service.files()
    fields = ["Content-Length: 0", "Content-Type: application/offset+octet-stream", f"{name}: {length}"]
    method, where = ("POST", "/v1/uploads") if name == "Upload-Length" else ("PATCH", path)
    raw = service.by_hand(f"{method} {where} HTTP/1.1").removesuffix(b"\r\n\r\n") + b"\r\n"
    answer = service.said(raw + "\r\n".join(fields).encode() + b"\r\n\r\n")
    allowed = {201} if (name, length) == ("Upload-Length", "3 ") else {400, 409, 413}
    assert set(service.statuses(answer)) <= allowed
    if allowed != {201}:
        assert service.files() == before


def test_a_body_shorter_than_announced_is_kept_as_far_as_it_came(service: "Service") -> None:
    """And one longer than announced ends where it was to end: the rest is no request."""
    path = service.create(1000)
    fields = ["Upload-Offset: 0", "Content-Type: application/offset+octet-stream", "Content-Length: 10"]
    with service.connect() as line:
        line.sendall(service.by_hand(f"PATCH {path} HTTP/1.1", *fields, body=b"short"))
        line.shutdown(socket.SHUT_WR)
        line.recv(65536)
    service.wait_for(lambda: service.offset_unasked(path) == 5)
    assert service.offset(path) == 5
    fields = ["Upload-Offset: 5", *fields[1:]]
    answer = service.said(service.by_hand(f"PATCH {path} HTTP/1.1", *fields, body=b"0123456789DELETE / HTTP/1.1"))
    assert service.statuses(answer) == [204]
    assert service.offset(path) == 15


def test_an_endless_body_stops_at_the_upload_s_length(service: "Service") -> None:
    """A chunked body that never ends is 413 as soon as it is too long, whether tus, multipart or JSON."""
    path = service.create(100_000)
    tus = ["Upload-Offset: 0", "Content-Type: application/offset+octet-stream", "Transfer-Encoding: chunked"]
    json = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    form = ["Content-Type: multipart/form-data; boundary=b", "Transfer-Encoding: chunked"]
    field = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
    for line, fields, begin in (
        (f"PATCH {path} HTTP/1.1", tus, b""),
        ("POST /v1/upload HTTP/1.1", json, b'{"a": "'),
        ("POST /v1/upload HTTP/1.1", form, field),
    ):
        with service.connect() as sender:
            sender.sendall(service.by_hand(line, *fields, body=b"%x\r\n%b\r\n" % (len(begin), begin) if begin else b""))
            stop = threading.Event()

            def flood(sender: socket.socket = sender, stop: threading.Event = stop) -> None:
                try:
                    while not stop.is_set():
                        sender.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
                except OSError:
                    return

            thread = threading.Thread(target=flood)
            thread.start()
            assert service.statuses(sender.recv(65536)) == [413]
            stop.set()
            sender.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert service.offset(path) < 100_000


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../../etc/passwd",
        "%2e%2e",
        "%2e%2e%2fstate.db",
        "..%5cstate.db",
        "%00",
        "x%00y",
        "%ff%fe",
        "%ed%a0%80",
        "%0d%0aX-Injected:%20yes",
        "%F0%9F%92%A9",
        "%E2%80%AE",
        "a" * 7000,
        "a;b",
        "a?b#c",
        "%",
        "%zz",
        "",
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_an_id_is_never_a_path(service: "Service", method: str, path: str) -> None:
    """An id is hashed before it is a name: none reaches a file, and none is repeated in an answer."""
    before = service.files()
    fields = ["Upload-Offset: 0", "Content-Type: application/offset+octet-stream", "Content-Length: 0"]
    answer = service.said(service.by_hand(f"{method} /v1/uploads/{path} HTTP/1.1", *fields))
    assert service.statuses(answer)[0] in {400, 404, 405}
    assert b"Injected" not in answer
    assert service.files() == before


@pytest.mark.parametrize("zeros", [19, 400, 4299, 5000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_submission_s_numbers_are_not_believed(service: "Service", sign: str, zeros: int) -> None:
    """No number is so large that it upsets the server or fills the answer."""
    text = f'{{"upload": "/v1/uploads/x", "filename": "x", "size": {sign}1{"0" * zeros}, "part_size": 1}}'
    reply = service.http.post("/v1/upload", content=text, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert len(reply.content) < 200


def test_a_part_s_head_is_bounded(service: "Service") -> None:
    """Neither a long field nor a thousand of them in a multipart body are gathered in memory."""
    for head in (b"X: " + b"a" * (20 << 20), b"X: a\r\n" * 100_000):
        reply = service.http.post(
            "/v1/upload",
            content=b"--b\r\n" + head,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert reply.status_code == 400


def test_floods_leave_no_memory_behind(start: Start) -> None:
    """After hundreds of refused requests of many MB the service is as small as before."""
    service = start("--no-transcriber", "--uploads-per-minute", "100000")
    process = psutil.Process(service.process.pid)

    def flood() -> None:
        for _ in range(20):
            service.said(service.by_hand("GET /v1/status HTTP/1.1", *["X: a"] * 50_000))
            service.said(service.by_hand("GET /v1/status HTTP/1.1", "X: " + "a" * (1 << 20)))
            service.http.post("/v1/upload", content=b"[" * (1 << 20), headers={"Content-Type": "application/json"})

    flood()
    before = process.memory_info().rss
    flood()
    flood()
    assert process.memory_info().rss < before + (16 << 20)

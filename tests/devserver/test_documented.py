"""The two documented calls, as their documentation has them."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Start = Callable[..., "Service"]


def files(service: "Service") -> int:
    """How many bodies and recordings there are."""
    return sum(len(list((service.data / name).iterdir())) for name in ("incoming", "recordings"))


def multipart_head(service: "Service", length: int) -> bytes:
    """The head of a documented upload, written by hand."""
    return (
        f"POST /v1/upload HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_recording_is_taken_byte_for_byte(service: "Service", noise: bytes) -> None:
    """One multipart field makes one job, whatever the bytes and the file's name are."""
    reply = service.http.post("/v1/upload", files={"file": ("a talk, ünïcode/../x.mp4", noise)})
    assert reply.status_code == 200
    assert list(reply.json()) == ["processing_id"]
    assert service.recording(reply.json()["processing_id"]) == noise
    assert "Idempotent-Replayed" not in reply.headers


def test_bytes_like_boundaries_survive(service: "Service") -> None:
    """Only the boundary itself ends the recording."""
    data = b"\r\n--b\r\n--bb\r\n--\r\n-" * 1000
    head = b'--b0\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    reply = service.http.post(
        "/v1/upload",
        content=head + data + b"\r\n--b0--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b0"},
    )
    assert service.recording(reply.json()["processing_id"]) == data


def test_unknown_fields_are_dropped(service: "Service") -> None:
    """A client may say more than the documentation knows."""
    reply = service.http.post("/v1/upload", data={"language": "en"}, files={"file": b"sound"})
    assert service.recording(reply.json()["processing_id"]) == b"sound"


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b"just bytes"),
        ({"Content-Type": "multipart/form-data"}, b"--b--\r\n"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b""),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"no boundary in here"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b--\r\n"),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nno end',
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            2 * b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' + b"--b--\r\n",
        ),
        ({"Content-Type": "multipart/form-data; boundary=" + "b" * 1000}, b"x"),
    ],
)
def test_a_malformed_upload_is_refused(service: "Service", headers: dict[str, str], content: bytes) -> None:
    """It is 400 with a sentence, and leaves neither job nor file."""
    before = files(service)
    reply = service.http.post("/v1/upload", headers=headers, content=content)
    assert reply.status_code == 400
    assert set(reply.json()) == {"message"}
    assert files(service) == before


def test_a_body_that_does_not_arrive_leaves_nothing(service: "Service", noise: bytes) -> None:
    """A client that goes away in mid-body has made no job."""
    before = files(service)
    with service.connect() as line:
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + noise[:300_000]
        line.sendall(multipart_head(service, 10_000_000) + part)
        service.wait_for(lambda: files(service) == before + 1)
    service.wait_for(lambda: files(service) == before)


def test_one_key_makes_one_job(service: "Service", noise: bytes) -> None:
    """A repeated upload gets the first one's id, quoted or not, and only the first one's bytes are kept."""
    key = str(uuid.uuid4())
    first = service.http.post("/v1/upload", files={"file": noise}, headers={"Idempotency-Key": f'"{key}"'})
    before = files(service)
    again = service.http.post("/v1/upload", files={"file": noise}, headers={"Idempotency-Key": key})
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert files(service) == before


@pytest.mark.parametrize("key", ['"', '"a', "a b", "", "\x7f", "x" * 256])
def test_a_malformed_key_is_refused(service: "Service", key: str) -> None:
    """Better no upload than one under a key its client did not mean."""
    reply = service.http.post("/v1/upload", files={"file": b"x"}, headers={"Idempotency-Key": key})
    assert reply.status_code == 400


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic a-key-for-tests"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/upload"),
        ("GET", "/v1/status?processing_id=x"),
        ("POST", "/v1/uploads"),
        ("HEAD", "/v1/uploads/x"),
        ("PATCH", "/v1/uploads/x"),
        ("DELETE", "/v1/uploads/x"),
        ("GET", "/v1/nothing"),
    ],
)
def test_strangers_are_kept_out(service: "Service", authorization: str, method: str, path: str) -> None:
    """Without a known key every call is 401 and says how to do better."""
    reply = service.http.request(method, path, headers=service.tus | {"Authorization": authorization})
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_unknown_path_is_not_found(service: "Service") -> None:
    """The reply is JSON like every other."""
    reply = service.http.get("/v1/nothing")
    assert (reply.status_code, set(reply.json())) == (404, {"message"})


def test_a_job_starts_as_processing(service: "Service") -> None:
    """The status has exactly the documented members."""
    job = service.http.post("/v1/upload", files={"file": b"x"}).json()["processing_id"]
    reply = service.http.get("/v1/status", params={"processing_id": job})
    assert reply.json() == {"status": "processing", "transcription": None, "message": None}


def test_a_status_needs_the_id_of_a_job(service: "Service") -> None:
    """Without the parameter it is 400, with an unknown id 404."""
    assert service.http.get("/v1/status").status_code == 400
    assert service.http.get("/v1/status", params={"processing_id": "x"}).status_code == 404


def test_the_sixth_upload_of_a_minute_has_to_wait(start: Start) -> None:
    """Five a minute are taken, refused ones included; the sixth learns for how long to wait."""
    service = start("--no-transcriber")
    for _ in range(4):
        assert service.http.post("/v1/upload", files={"file": b"x"}).status_code == 200
    assert service.http.post("/v1/upload", content=b"x").status_code == 400
    for _ in range(2):
        reply = service.http.post("/v1/upload", files={"file": b"x"})
        assert reply.status_code == 429
        assert 50 <= int(reply.headers["Retry-After"]) <= 60
    assert service.http.post("/v1/uploads", headers=service.tus | {"Upload-Length": "1"}).status_code == 201


def test_a_job_is_asked_about_every_five_seconds(start: Start) -> None:
    """The second call for one job waits; another job's does not."""
    service = start("--no-transcriber")
    jobs = [service.http.post("/v1/upload", files={"file": b"x"}).json()["processing_id"] for _ in range(2)]
    for job in jobs:
        assert service.http.get("/v1/status", params={"processing_id": job}).status_code == 200
    reply = service.http.get("/v1/status", params={"processing_id": jobs[0]})
    assert reply.status_code == 429
    assert 1 <= int(reply.headers["Retry-After"]) <= 5


def test_accounts_do_not_see_each_other(start: Start, service: "Service") -> None:
    """Another account's job and upload do not exist for me."""
    key_file = service.data.parent / "keys"
    key_file.write_text("# two people\nann:first-key\n\nsecond-key\n")
    key_file.chmod(0o600)
    shared = start("--no-transcriber", "--key-file", str(key_file))
    ann, other = ({"Authorization": f"Bearer {name}-key"} for name in ("first", "second"))
    made = shared.http.post("/v1/upload", files={"file": b"x"}, headers=ann | {"Idempotency-Key": "k"})
    job = made.json()["processing_id"]
    path = shared.http.post("/v1/uploads", headers=shared.tus | ann | {"Upload-Length": "0"}).headers["Location"]
    for headers, status in ((ann, 200), (other, 404)):
        assert shared.http.head(path, headers=shared.tus | headers).status_code == status
        reply = shared.http.get("/v1/status", params={"processing_id": job}, headers=headers)
        assert reply.status_code == status
    same_key = shared.http.post("/v1/upload", files={"file": b"y"}, headers=other | {"Idempotency-Key": "k"})
    assert same_key.json()["processing_id"] != job


def test_the_log_tells_no_secret(start: Start) -> None:
    """Requests are logged by route, without ids, keys and queries."""
    service = start("--no-transcriber")
    path = service.create(3)
    service.http.get("/v1/status", params={"processing_id": "guess-this"})
    service.http.get("/v1/made-up-secret")
    service.end()
    assert "POST /v1/uploads 201" in service.log
    assert "GET /v1/status 404" in service.log
    for secret in (path.rpartition("/")[2], service.key, "guess-this", "made-up"):
        assert secret not in service.log

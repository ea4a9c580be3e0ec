"""Submit by reference: a complete upload becomes one job, once and for ever."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import xxhash

if TYPE_CHECKING:
    from tests.devserver.conftest import Service

Document = Callable[..., dict[str, object]]
Start = Callable[..., "Service"]


def test_proved_bytes_become_a_job(service: "Service", noise: bytes, submission: Document) -> None:
    """The job receives exactly the upload's bytes, and the answer is that of the documented call."""
    reply = service.submit(submission(service.finished(noise), noise), '"key-1"')
    assert reply.status_code == 200
    assert list(reply.json()) == ["processing_id"]
    assert service.recording(reply.json()["processing_id"]) == noise


def test_an_upload_has_one_id_for_ever(start: Start, noise: bytes, submission: Document) -> None:
    """Whatever the key, after a kill, and when the upload itself is gone, the answer is the same."""
    service = start("--no-transcriber")
    path = service.finished(noise)
    document = submission(f"https://name-of-a-proxy:8443{path}?x=1", noise)
    first = service.submit(document, "k1")
    assert first.headers.get("Idempotent-Replayed") is None
    service.end(signal.SIGKILL)
    again = start("--no-transcriber")
    for key in ("k1", "k2", None):
        reply = again.submit(document, key)
        assert reply.json() == first.json()
        assert reply.headers["Idempotent-Replayed"] == "true"
    again.http.delete(path, headers=again.tus)
    assert again.submit(document, "k1").json() == first.json()
    assert again.recording(first.json()["processing_id"]) == noise


def test_a_key_stands_for_one_recording(service: "Service", submission: Document) -> None:
    """With another upload, or on the other kind of upload, it is refused by name."""
    one, other = (submission(service.finished(data), data) for data in (b"one", b"other"))
    service.submit(one, "only-once")
    reply = service.submit(other, "only-once")
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    reply = service.http.post("/v1/upload", files={"file": b"x"}, headers={"Idempotency-Key": "only-once"})
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert service.submit(other, "another").status_code == 200


def test_simultaneous_submits_make_one_job(service: "Service", noise: bytes, submission: Document) -> None:
    """Eight at once, with four keys, get one id and leave one recording."""
    document = submission(service.finished(noise), noise)
    before = len(list((service.data / "recordings").iterdir()))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: service.submit(document, f"at-once-{n % 4}"), range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["processing_id"] for reply in replies}) == 1
    assert len(list((service.data / "recordings").iterdir())) == before + 1


def test_two_servers_at_once_make_one_job(start: Start, noise: bytes, submission: Document) -> None:
    """The database decides, not a process."""
    servers = [start("--no-transcriber"), start("--no-transcriber")]
    document = submission(servers[0].finished(noise), noise)
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda server: server.submit(document, "k"), servers))
    assert len({reply.json()["processing_id"] for reply in replies}) == 1
    assert len(list((servers[0].data / "recordings").iterdir())) == 1


def test_damaged_parts_are_named(service: "Service", noise: bytes, submission: Document) -> None:
    """The client learns which parts to send again, and no job is made until the bytes are right."""
    spoiled = bytearray(noise)
    spoiled[70_000] ^= 1
    spoiled[-1] ^= 1
    bad = service.finished(bytes(spoiled))
    before = len(list((service.data / "recordings").iterdir()))
    reply = service.submit(submission(bad, noise), "mended-later")
    assert reply.status_code == 422
    assert reply.json()["code"] == "digest_mismatch"
    assert reply.json()["bad_parts"] == [1, len(noise) // 65536 - 1]
    assert len(list((service.data / "recordings").iterdir())) == before
    assert service.submit(submission(service.finished(noise), noise), "mended-later").status_code == 200


def test_an_unfinished_upload_is_not_submitted(service: "Service", noise: bytes, submission: Document) -> None:
    """409 tells where to go on; afterwards the same submit works."""
    path = service.create(len(noise))
    service.patch(path, 0, noise[:1000])
    document = submission(path, noise)
    reply = service.submit(document, "early")
    assert (reply.status_code, reply.headers["Upload-Offset"]) == (409, "1000")
    service.patch(path, 1000, noise[1000:])
    assert service.submit(document, "early").status_code == 200


def test_a_missing_upload_is_told_from_a_gone_one(service: "Service", submission: Document) -> None:
    """404 and 410; the key is free for the upload that is made instead."""
    assert service.submit(submission("/v1/uploads/guess", b"x"), "free").status_code == 404
    path = service.finished(b"x")
    service.http.delete(path, headers=service.tus)
    assert service.submit(submission(path, b"x"), "free").status_code == 410
    assert service.submit(submission(service.finished(b"x"), b"x"), "free").status_code == 200


def test_another_size_is_refused(service: "Service", submission: Document) -> None:
    """A complete upload of another length is not this recording."""
    reply = service.submit(submission(service.finished(b"abc"), b"abcd"))
    assert (reply.status_code, reply.json()["code"]) == (422, "size_mismatch")


def test_an_empty_recording_is_a_legal_job(service: "Service", submission: Document) -> None:
    """Nothing can be said about it yet; the transcriber will."""
    assert service.submit(submission(service.create(0), b"")).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"upload": None},
        {"upload": "/v1/status"},
        {"upload": "/v1/uploads/"},
        {"upload": "/v1/uploads/a/b"},
        {"upload": "file:///etc/passwd"},
        {"upload": "http://[::1/v1/uploads/x"},
        {"size": -1},
        {"size": True},
        {"size": "3"},
        {"size": 1 << 40},
        {"filename": ""},
        {"filename": 3},
        {"filename": "\ud800"},
        {"part_size": 0},
        {"part_size": 1.5},
        {"parts": []},
        {"parts": ["zz" * 16]},
        {"parts": ["00" * 16]},
        {"parts": ["00" * 16, "00" * 16]},
        {"digest": None},
        {"digest": {"algorithm": "md5", "value": "00" * 16}},
        {"digest": {"algorithm": "xxh3-128-parts", "value": "00" * 16}},
    ],
)
def test_a_malformed_submission_is_refused(
    service: "Service", submission: Document, changes: dict[str, object]
) -> None:
    """It is 400 with a sentence that names the member."""
    reply = service.submit(submission(service.finished(b"abc"), b"abc", **changes))
    assert reply.status_code == 400
    assert next(iter(changes)) in reply.json()["message"] or "digest.value" in reply.json()["message"]


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000])
def test_what_is_not_json_is_refused(service: "Service", text: bytes) -> None:
    """Nor does it upset the server."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert service.http.post("/v1/upload", content=text, headers=headers).status_code == 400


def test_the_digest_is_that_of_the_part_digests(service: "Service") -> None:
    """The formula, written out: xxh3-128 over the concatenated raw part digests."""
    data = b"abcdefgh"
    parts = [xxhash.xxh3_128_digest(data[at : at + 3]) for at in (0, 3, 6)]
    reply = service.submit(
        {
            "upload": service.finished(data),
            "size": 8,
            "filename": "x",
            "part_size": 3,
            "digest": {"algorithm": "xxh3-128-parts", "value": xxhash.xxh3_128_hexdigest(b"".join(parts))},
            "parts": [part.hex() for part in parts],
        }
    )
    assert service.recording(reply.json()["processing_id"]) == data

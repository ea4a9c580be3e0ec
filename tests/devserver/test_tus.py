"""tus 1.0.0 as a client meets it, request by request."""

import hashlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import xxhash

if TYPE_CHECKING:
    from tests.devserver.conftest import Service


def test_options_needs_no_key_and_names_what_the_server_does(service: "Service") -> None:
    """Discovery works before a key is known, and everything advertised is what the other tests prove."""
    reply = service.http.options("/v1/uploads", headers={"Authorization": ""})
    assert reply.status_code == 204
    assert reply.headers["Tus-Version"] == "1.0.0"
    assert set(reply.headers["Tus-Extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "checksum",
        "concatenation",
        "concatenation-unfinished",
        "termination",
        "expiration",
    }
    assert reply.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,xxh3-128"
    assert int(reply.headers["Tus-Max-Size"]) == 1 << 40


@pytest.mark.parametrize("collection", ["/v1/uploads", "/v1/uploads/"])
def test_an_upload_grows_patch_by_patch(service: "Service", noise: bytes, collection: str) -> None:
    """Creation, two PATCHes and the HEADs between them tell one consistent story."""
    metadata = "filename dGFsay5tcDQ=,filetype dmlkZW8vbXA0,empty"
    asked = service.tus | {"Upload-Length": str(len(noise)), "Upload-Metadata": metadata}
    created = service.http.post(collection, headers=asked)
    assert created.status_code == 201
    assert created.headers["Tus-Resumable"] == "1.0.0"
    path = urljoin(collection, created.headers["Location"])
    first = service.patch(path, 0, noise[:1000])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "1000")
    between = service.head(path)
    assert between.headers["Upload-Offset"] == "1000"
    assert between.headers["Upload-Length"] == str(len(noise))
    assert between.headers["Upload-Metadata"] == metadata
    assert between.headers["Cache-Control"] == "no-store"
    last = service.patch(path, 1000, noise[1000:])
    assert last.headers["Upload-Offset"] == str(len(noise))
    assert service.patch(path, len(noise), b"").status_code == 204


def test_the_location_is_relative(service: "Service") -> None:
    """So it holds behind whatever name and port the client came through."""
    assert service.create(1).startswith("/v1/uploads/")


def test_the_location_beside_the_creation_url_is_one_segment(service: "Service") -> None:
    """A client that joins paths instead of resolving references (RFC 3986) finds its upload where others do."""
    created = service.http.post("/v1/uploads/", headers=service.tus | {"Upload-Length": "1"})
    path = f"/v1/uploads/{created.headers['Location']}"

    assert "/" not in created.headers["Location"]
    assert service.offset(path) == 0


def test_only_the_right_version_is_spoken(service: "Service") -> None:
    """A missing or other version is 412 with the versions there are, and changes nothing."""
    path = service.create(5)
    for version in ({}, {"Tus-Resumable": "0.2.2"}):
        reply = service.http.head(path, headers=version)
        assert reply.status_code == 412
        assert reply.headers["Tus-Version"] == "1.0.0"
    assert service.http.post("/v1/uploads", headers={"Upload-Length": "1"}).status_code == 412


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Upload-Offset": "4"}, 409),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "one"}, 400),
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Upload-Length": "11"}, 400),
        ({"Upload-Checksum": "md5 AAAA"}, 400),
        ({"Upload-Checksum": "sha1 ?"}, 400),
        ({"Upload-Checksum": "sha1 AAAA"}, 400),
        ({"Upload-Checksum": "sha1"}, 400),
    ],
)
def test_a_patch_that_is_wrong_changes_nothing(service: "Service", changes: dict[str, str], status: int) -> None:
    """A refused PATCH leaves the offset, and the right one still works."""
    path = service.create(10)
    assert service.patch(path, 0, b"abc").status_code == 204
    refused = service.patch(path, 3, b"defg", **changes)
    assert refused.status_code == status
    assert refused.json()["message"]
    assert refused.headers["Tus-Resumable"] == "1.0.0"
    assert service.offset(path) == 3
    assert service.patch(path, 3, b"defghij").headers["Upload-Offset"] == "10"


def test_a_conflict_tells_the_true_offset(service: "Service") -> None:
    """A client that lost count learns where to go on from the refusal itself."""
    path = service.create(10)
    service.patch(path, 0, b"abc")
    assert service.patch(path, 0, b"abc").headers["Upload-Offset"] == "3"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_more_bytes_than_announced_are_refused(service: "Service", *, chunked: bool) -> None:
    """Neither a Content-Length nor a chunked body gets an upload beyond its length."""
    path = service.create(10)
    service.patch(path, 0, b"abc")
    content = iter([b"x" * 6, b"y" * 6]) if chunked else b"x" * 12
    reply = service.http.patch(path, headers=service.chunk | {"Upload-Offset": "3"}, content=content)
    assert reply.status_code == 413
    assert service.offset(path) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload-Length": "5", "Upload-Defer-Length": "1"},
        {"Upload-Defer-Length": "2"},
        {"Upload-Length": "-5"},
        {"Upload-Length": "5", "Upload-Metadata": "a b c"},
        {"Upload-Length": "5", "Upload-Metadata": "a YQ"},
        {"Upload-Length": "5", "Upload-Metadata": "a YQ==,a YQ=="},
        {"Upload-Length": "5", "Upload-Metadata": "a YQ==,"},
        {"Upload-Length": "5", "Upload-Metadata": "a \xe9"},
        {"Upload-Length": "5", "Upload-Concat": "whole"},
        {"Upload-Length": "5", "Upload-Concat": "final;/v1/uploads/x"},
        {"Upload-Concat": "final;"},
        {"Upload-Concat": "final;/v1/uploads/absent"},
        {"Upload-Concat": "final;http://[/v1/uploads/x"},
        {"Upload-Concat": "final;/v1/status"},
    ],
)
def test_a_malformed_creation_is_refused(service: "Service", headers: dict[str, str]) -> None:
    """What the specification does not allow is 400, with a sentence."""
    raw = {name.encode(): value.encode("latin-1") for name, value in (service.tus | headers).items()}
    reply = service.http.post("/v1/uploads", headers=raw)
    assert reply.status_code == 400
    assert reply.json()["message"]


def test_an_empty_metadata_header_is_none(service: "Service") -> None:
    """tuspy sends one when it has nothing to say."""
    path = service.create(5, {"Upload-Metadata": ""})
    assert "Upload-Metadata" not in service.head(path).headers


def test_what_cannot_fit_is_refused_before_a_byte_is_sent(service: "Service") -> None:
    """Longer than the server takes is 413; longer than the disk has room for is 507."""
    for length, status in ((1 << 41, 413), (1 << 40, 507)):
        headers = service.tus | {"Upload-Length": str(length)}
        assert service.http.post("/v1/uploads", headers=headers).status_code == status


def test_an_empty_upload_is_complete_at_once(service: "Service") -> None:
    """Length zero needs no PATCH."""
    head = service.head(service.create(0))
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("0", "0")
    assert "Upload-Expires" not in head.headers


def test_a_deferred_length_is_settled_once(service: "Service") -> None:
    """It may come with data or alone, and holds from then on."""
    path = service.create()
    assert service.patch(path, 0, b"abc").status_code == 204
    head = service.head(path)
    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head.headers
    assert service.patch(path, 3, b"", **{"Upload-Length": "2"}).status_code == 400
    assert service.patch(path, 3, b"", **{"Upload-Length": "5"}).status_code == 204
    assert service.patch(path, 3, b"defg").status_code == 413
    assert service.patch(path, 3, b"de", **{"Upload-Length": "6"}).status_code == 400
    assert service.patch(path, 3, b"de").headers["Upload-Offset"] == "5"
    assert "Upload-Defer-Length" not in service.head(path).headers


def test_a_creation_may_bring_the_first_bytes(service: "Service") -> None:
    """creation-with-upload answers with the offset."""
    headers = service.chunk | {"Upload-Length": "6"}
    reply = service.http.post("/v1/uploads", headers=headers, content=b"abc")
    assert (reply.status_code, reply.headers["Upload-Offset"]) == (201, "3")
    assert service.offset(reply.headers["Location"]) == 3


def test_a_creation_with_a_body_of_another_type_is_refused(service: "Service") -> None:
    """Bytes that nobody says are the upload's are not taken for it."""
    headers = service.tus | {"Upload-Length": "6"}
    assert service.http.post("/v1/uploads", headers=headers, content=b"abc").status_code == 415


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("sha1", lambda data: hashlib.sha1(data).digest()),
        ("sha256", lambda data: hashlib.sha256(data).digest()),
        ("xxh3-128", xxhash.xxh3_128_digest),
    ],
)
def test_a_checksum_decides_whether_bytes_are_kept(
    service: "Service", noise: bytes, encoded: Callable[[bytes], str], algorithm: str, digest: Callable[[bytes], bytes]
) -> None:
    """A mismatch is 460 and keeps nothing; the right bytes at the same place are then taken."""
    path = service.create(len(noise))
    service.patch(path, 0, noise[:100])
    rest = noise[100:]
    wanted = {"Upload-Checksum": f"{algorithm} {encoded(digest(rest))}"}
    spoiled = rest[:-1] + bytes([rest[-1] ^ 1])
    assert service.patch(path, 100, spoiled, **wanted).status_code == 460
    assert service.offset(path) == 100
    assert service.patch(path, 100, rest, **wanted).status_code == 204
    assert service.offset(path) == len(noise)


def test_a_terminated_upload_is_gone(service: "Service", noise: bytes) -> None:
    """DELETE frees the bytes; later calls say gone, and say it again."""
    path = service.finished(noise)
    before = sum(1 for _ in (service.data / "uploads").iterdir())
    assert service.http.delete(path, headers=service.tus).status_code == 204
    assert sum(1 for _ in (service.data / "uploads").iterdir()) == before - 1
    assert service.head(path).status_code == 410
    assert service.patch(path, 0, b"x").status_code == 410
    assert service.http.delete(path, headers=service.tus).status_code == 410


def test_an_unknown_upload_is_not_found(service: "Service") -> None:
    """A guessed id learns nothing."""
    reply = service.head("/v1/uploads/guess")
    assert reply.status_code == 404
    assert "Upload-Offset" not in reply.headers


def test_unfinished_uploads_say_when_they_expire(service: "Service") -> None:
    """Upload-Expires is a week ahead of the reply's Date, on creation and on PATCH, until all is here."""
    created = service.http.post("/v1/uploads", headers=service.tus | {"Upload-Length": "2"})
    path = created.headers["Location"]
    patched = service.patch(path, 0, b"a")
    for reply in (created, patched):
        ahead = parsedate_to_datetime(reply.headers["Upload-Expires"]) - parsedate_to_datetime(reply.headers["Date"])
        assert 6.9 < ahead.total_seconds() / 86_400 < 7.1
    assert "Upload-Expires" not in service.patch(path, 1, b"b").headers


@pytest.mark.parametrize("method", ["PATCH", "HEAD", "DELETE"])
def test_a_method_may_travel_in_a_header(service: "Service", method: str) -> None:
    """Proxies that know only POST do not stop a client."""
    path = service.create(3)
    headers = service.chunk | {"X-HTTP-Method-Override": method, "Upload-Offset": "0"}
    reply = service.http.post(path, headers=headers, content=b"abc" if method == "PATCH" else b"")
    assert reply.status_code == {"PATCH": 204, "HEAD": 200, "DELETE": 204}[method]
    assert service.head(path).headers.get("Upload-Offset") == {"PATCH": "3", "HEAD": "0", "DELETE": None}[method]


def test_other_methods_are_named(service: "Service") -> None:
    """405 tells which methods there are."""
    assert service.http.get("/v1/uploads", headers=service.tus).headers["Allow"] == "POST, OPTIONS"
    reply = service.http.put(service.create(1), headers=service.tus)
    assert (reply.status_code, reply.headers["Allow"]) == (405, "HEAD, PATCH, DELETE, OPTIONS")


def test_lanes_become_one_upload(
    service: "Service", noise: bytes, submission: Callable[..., dict[str, object]]
) -> None:
    """Partial uploads join in the order named, and the job gets exactly their bytes."""
    bounds = [0, 1, 70_000, 70_000, len(noise)]
    lanes = []
    for start, stop in pairwise(bounds):
        lane = service.create(stop - start, {"Upload-Concat": "partial"})
        assert service.patch(lane, 0, noise[start:stop]).status_code == 204
        lanes.append(lane)
    assert service.head(lanes[0]).headers["Upload-Concat"] == "partial"
    urls = " ".join([lanes[0], *(f"http://elsewhere:1{lane}" for lane in lanes[1:])])
    final = service.create(None, {"Upload-Concat": f"final;{urls}", "Upload-Metadata": "filename YQ=="})
    head = service.head(final)
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == str(len(noise))
    assert head.headers["Upload-Concat"] == f"final;{urls}"
    assert head.headers["Upload-Metadata"] == "filename YQ=="
    assert service.patch(final, len(noise), b"").status_code == 403
    for lane in lanes:
        service.http.delete(lane, headers=service.tus)
    reply = service.submit(submission(final, noise))
    assert reply.status_code == 200, reply.text
    assert service.recording(reply.json()["processing_id"]) == noise


def test_a_final_upload_may_be_asked_for_while_its_lanes_grow(
    service: "Service", submission: Callable[..., dict[str, object]]
) -> None:
    """It has no offset until the last byte of the last lane is here, and is not submitted before."""
    lanes = [service.create(3, {"Upload-Concat": "partial"}), service.create(None, {"Upload-Concat": "partial"})]
    final = service.create(None, {"Upload-Concat": f"final;{' '.join(lanes)}"})
    assert "Upload-Length" not in service.head(final).headers
    service.patch(lanes[1], 0, b"def", **{"Upload-Length": "3"})
    head = service.head(final)
    assert head.headers["Upload-Length"] == "6"
    assert "Upload-Offset" not in head.headers
    assert service.submit(submission(final, b"abcdef")).status_code == 409
    service.patch(lanes[0], 0, b"abc")
    assert service.offset(final) == 6
    reply = service.submit(submission(final, b"abcdef"))
    assert service.recording(reply.json()["processing_id"]) == b"abcdef"


def test_only_partial_uploads_can_be_joined(service: "Service") -> None:
    """A plain upload, or one that is gone, is no lane."""
    plain = service.create(3)
    gone = service.create(3, {"Upload-Concat": "partial"})
    service.http.delete(gone, headers=service.tus)
    for path in (plain, gone):
        headers = service.tus | {"Upload-Concat": f"final;{path}"}
        assert service.http.post("/v1/uploads", headers=headers).status_code == 400


def test_a_final_upload_can_be_terminated(service: "Service") -> None:
    """Its lanes stay."""
    lane = service.create(3, {"Upload-Concat": "partial"})
    final = service.create(None, {"Upload-Concat": f"final;{lane}"})
    assert service.http.delete(final, headers=service.tus).status_code == 204
    assert service.head(final).status_code == 410
    assert service.offset(lane) == 0


def test_a_look_into_the_folder_gives_nobody_an_upload_url(service: "Service") -> None:
    """Neither file names nor the database hold an id or the key."""
    lane = service.create(3, {"Upload-Concat": "partial"})
    final = service.create(None, {"Upload-Concat": f"final;{lane}"})
    ids = [path.rpartition("/")[2].encode() for path in (lane, final)]
    for file in service.data.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        for secret in [*ids, service.key.encode()]:
            assert secret not in content
            assert secret.decode() not in file.name


def test_the_folder_is_for_its_owner_alone(service: "Service") -> None:
    """Folders are 0700 and files 0600."""
    service.create(3)
    for file in [service.data, *service.data.rglob("*")]:
        assert file.stat().st_mode & 0o077 == 0, file
